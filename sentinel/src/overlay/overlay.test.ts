import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Envelope, Frame, KeyAnnounce, NodeAttachAck, Principal } from '@fame-fabric/shared';
import { decode, encode, makeEnvelope, newId, sidOf } from '@fame-fabric/shared/router';
import {
  generateSigningKey,
  type Jwk,
  readJwks,
  type SigningKey,
  signEnvelope,
  type VerifyKey,
  verifyEnvelope,
  verifyKeyOf,
} from '@fame-fabric/shared/signature';
import { afterEach, describe, expect, it, test } from 'vitest';
import { parsePolicy } from '../access/policy/parse-policy.ts';
import { type FakeNode, makeTestParts } from '../testing/sentinel-parts.ts';
import { openSignatures } from './overlay.ts';
import { openSentinelKeys, sentinelKeysFile } from './sentinel-keys.ts';

interface SignedNode extends FakeNode {
  readonly key: SigningKey;
}

function makeOverlay({ verifiesData = true, id = 'S' }: { verifiesData?: boolean; id?: string } = {}) {
  const parts = makeTestParts({ id, signatures: openSignatures({ id, verifiesData }) });
  const attach = (systemId: string, more: Parameters<typeof parts.attach>[1] = {}): SignedNode => {
    const key = generateSigningKey();
    const sign = (envelope: Envelope, path: string): void => signEnvelope(envelope, key, path);
    return { ...parts.attach(systemId, { keys: [key.jwk], sign, ...more }), key };
  };
  return { ...parts, attach };
}

/** The key of the sentinel that a node got with its ack. */
const sentinelKey = ({ ack }: FakeNode): VerifyKey => {
  const { keys, targetPhysicalPath } = ack.frame as NodeAttachAck;
  return verifyKeyOf(readJwks(keys)[0]!, targetPhysicalPath!);
};
const isFromSentinel = (node: FakeNode, envelope: Envelope): boolean =>
  verifyEnvelope(envelope, encode(envelope), sentinelKey(node));
const codeOf = ([answer]: Envelope[]): unknown => (answer!.frame as { code?: string }).code;

/** A caller and an agent that serves `math@fame.fabric`. */
function pair() {
  const parts = makeOverlay();
  const agent = parts.attach('agent');
  agent.bind('math@fame.fabric');
  return { ...parts, agent, caller: parts.attach('caller') };
}

describe('signed nodes', () => {
  test('get the keys of the sentinel, and its acks are signed', () => {
    const { agent, caller } = pair();
    const { keys } = caller.ack.frame as NodeAttachAck;
    expect((keys as Jwk[]).map(({ crv, use }) => [crv, use])).toEqual([
      ['Ed25519', 'sig'],
      ['X25519', 'enc'],
    ]);
    const header = { corrId: 'c', rtype: 1, replyTo: `__sys__@${agent.path}` };
    const frames: Frame[] = [
      { type: 'AddressBind', address: 'more@fame.fabric' },
      { type: 'CapabilityAdvertise', address: 'more@fame.fabric', capabilities: ['x'] },
      { type: 'CapabilityWithdraw', address: 'more@fame.fabric', capabilities: ['x'] },
      { type: 'AddressUnbind', address: 'more@fame.fabric' },
    ];
    for (const frame of frames) {
      const [ack] = agent.send(frame, header);
      expect(ack!.frame).toMatchObject({ type: `${frame.type}Ack`, ok: true });
      expect(isFromSentinel(agent, ack!), frame.type).toBe(true);
    }
    const [nack] = caller.call('none@fame.fabric', 'n');
    expect(nack!.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NO_ROUTE' });
    expect(isFromSentinel(caller, nack!)).toBe(true);
  });

  test('call each other, and messages arrive as they were signed', () => {
    const { agent, caller } = pair();
    caller.call('math@fame.fabric', 'c1');
    const [request] = agent.transport.take();
    expect(verifyEnvelope(request!, encode(request!), verifyKeyOf(caller.key.jwk, caller.path))).toBe(true);
    agent.reply(request!, 7);
    const [reply] = caller.transport.take();
    expect(verifyEnvelope(reply!, encode(reply!), verifyKeyOf(agent.key.jwk, agent.path))).toBe(true);
  });

  test('get signed cancels, and signed answers about their callers', () => {
    const { attach, caller } = pair();
    const agent = attach('cancellable', { capabilities: ['fame.capability.cancel'] });
    agent.bind('slow@fame.fabric');
    caller.call('slow@fame.fabric', 'c1');
    const [request] = agent.transport.take();
    const [known] = agent.send({ type: 'WhoIs', address: request!.replyTo!, corrId: 'c1' }, { corrId: 'w' });
    expect(known!.frame).toMatchObject({ type: 'WhoIsAck', ok: true });
    expect(isFromSentinel(agent, known!)).toBe(true);
    caller.send({ type: 'CallCancel', corrId: 'c1' }, { replyTo: request!.replyTo! });
    const [cancel] = agent.transport.take();
    expect(cancel!.frame).toMatchObject({ type: 'CallCancel', corrId: 'c1' });
    expect(isFromSentinel(agent, cancel!)).toBe(true);
  });

  test('ask for keys: of a node, of the sentinel, and of a node that has just left', () => {
    const { agent, caller, clock } = pair();
    const ask = (kid: string): Envelope[] =>
      agent.send({ type: 'KeyRequest', kid, physicalPath: agent.path }, { corrId: 'k', traceId: 't' });
    const [announce] = ask(caller.key.kid);
    expect(announce).toMatchObject({ corrId: 'k', traceId: 't' });
    expect(announce!.frame).toMatchObject({
      type: 'KeyAnnounce',
      physicalPath: caller.path,
      keys: [{ ...caller.key.jwk, sid: sidOf(caller.path), physical_path: caller.path }],
      created: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect(isFromSentinel(agent, announce!)).toBe(true);
    const own = sentinelKey(agent).kid;
    expect((ask(own)[0]!.frame as KeyAnnounce).physicalPath).toBe('/S');
    expect(ask('unknown')).toEqual([]);
    caller.lose(1000);
    expect((ask(caller.key.kid)[0]!.frame as KeyAnnounce).physicalPath).toBe(caller.path);
    clock.advance(60_000);
    expect(ask(caller.key.kid)).toEqual([]);
  });

  test('get the answer of the node that serves an address', () => {
    const { agent, attach, caller, clock } = pair();
    caller.send({ type: 'KeyRequest', address: 'math@fame.fabric' }, { corrId: 'k' });
    const [request] = agent.transport.take();
    expect(request!.frame).toMatchObject({
      type: 'KeyRequest',
      address: 'math@fame.fabric',
      physicalPath: '/S',
    });
    expect(isFromSentinel(agent, request!)).toBe(true);
    const answer: Frame = { type: 'KeyAnnounce', physicalPath: agent.path, keys: [agent.key.jwk] };
    // Only the node that was asked may answer, and only once.
    const evil = attach('evil');
    evil.send(answer, { corrId: request!.corrId });
    expect(caller.transport.take()).toEqual([]);
    agent.send(answer, { corrId: request!.corrId });
    const [announce] = caller.transport.take();
    expect(announce).toMatchObject({ corrId: 'k', frame: { physicalPath: agent.path } });
    expect(isFromSentinel(caller, announce!)).toBe(true);
    agent.send(answer, { corrId: request!.corrId });
    expect(caller.transport.take()).toEqual([]);
    // An answer after 30 s is ignored.
    caller.send({ type: 'KeyRequest', address: `x@${agent.path}` }, { corrId: 'k2' });
    const [late] = agent.transport.take();
    clock.advance(30_000);
    agent.send(answer, { corrId: late!.corrId });
    expect(caller.transport.take()).toEqual([]);
  });

  test('get no key of an address that they may not call, as of one that does not exist', () => {
    const signatures = openSignatures({ id: 'S' });
    const parts = makeTestParts({ id: 'S', signatures });
    const attach = (systemId: string, allow?: string[]): FakeNode => {
      const key = generateSigningKey();
      const sign = (envelope: Envelope, path: string): void => signEnvelope(envelope, key, path);
      const principal: Principal = { id: systemId, roles: ['agent'], allow };
      return parts.attach(systemId, { keys: [key.jwk], sign, principal });
    };
    const agent = attach('agent');
    for (const address of ['math@fame.fabric', 'vault@fame.fabric']) agent.bind(address);
    const caller = attach('caller', ['math@**']);
    for (const address of ['vault@fame.fabric', 'ghost@fame.fabric', `vault@${agent.path}`])
      expect(caller.send({ type: 'KeyRequest', address }, { corrId: 'k' })).toEqual([]);
    expect(agent.transport.take()).toEqual([]);
    for (const address of ['math@fame.fabric', `__rpc__x@${agent.path}`]) {
      caller.send({ type: 'KeyRequest', address }, { corrId: 'k' });
      expect(agent.transport.take()).toMatchObject([{ frame: { type: 'KeyRequest', address } }]);
    }
  });

  test('get no key at the path of a node for an address that a policy denies', () => {
    const { policy } = parsePolicy(
      'p.yaml',
      'rules: [{ effect: deny, action: Call, address: vault@fame.fabric }, { effect: allow }]',
    );
    const parts = makeTestParts({
      id: 'S',
      signatures: openSignatures({ id: 'S' }),
      policy: { policy: policy!, refresh: () => false },
    });
    const attach = (systemId: string): FakeNode => {
      const key = generateSigningKey();
      return parts.attach(systemId, {
        keys: [key.jwk],
        sign: (envelope, path) => signEnvelope(envelope, key, path),
      });
    };
    const [agent, caller] = [attach('agent'), attach('caller')];
    for (const name of ['vault', 'chat']) agent!.bind(`${name}@fame.fabric`);
    const asked = (name: string): number => {
      caller!.send({ type: 'KeyRequest', address: `${name}@${agent!.path}` }, { corrId: 'k' });
      return agent!.transport.take().length;
    };
    expect([asked('vault'), asked('chat')]).toEqual([0, 1]);
  });

  test('get no keys above the rate of their principal', () => {
    const { policy } = parsePolicy(
      'p.yaml',
      'rules: [{ effect: allow }]\nlimits: [{ messages_per_second: 5, message_burst: 5 }]',
    );
    const parts = makeTestParts({
      id: 'S',
      signatures: openSignatures({ id: 'S' }),
      policy: { policy: policy!, refresh: () => false },
    });
    const key = generateSigningKey();
    const node = parts.attach('n', {
      keys: [key.jwk],
      sign: (envelope, path) => signEnvelope(envelope, key, path),
    });
    const answers = Array.from({ length: 50 }, () =>
      node.send({ type: 'KeyRequest', kid: key.kid }, { corrId: 'k' }),
    ).flat();
    expect(answers.length).toBeGreaterThan(0);
    expect(answers.length).toBeLessThan(20);
  });

  test('are refused at the attach without a key for signatures, or with the key id of another node', () => {
    const { attach, caller } = pair();
    expect(() => attach('keyless', { keys: [] })).toThrow(/has no Ed25519 key/);
    expect(() => attach('thief', { keys: [{ ...generateSigningKey().jwk, kid: caller.key.kid }] })).toThrow(
      /is that of another node/,
    );
    // The node itself returns with the same key.
    caller.lose();
    attach('caller', { keys: [caller.key.jwk] });
  });

  test('need no signature on heartbeats and credit', () => {
    const { attach } = makeOverlay();
    const plain = attach('plain', { sign: () => {} });
    expect(plain.send({ type: 'NodeHeartbeat' }, { corrId: 'h' })[0]!.frame.type).toBe('NodeHeartbeatAck');
    expect(plain.send({ type: 'CreditUpdate', flowId: 'f', credits: 8 })).toEqual([]);
  });
});

describe('each signature that is required', () => {
  const frames: [Frame, Partial<Envelope>, string][] = [
    [{ type: 'AddressBind', address: 'evil@fame.fabric' }, {}, 'AddressBindAck'],
    [{ type: 'AddressUnbind', address: 'evil@fame.fabric' }, {}, 'AddressUnbindAck'],
    [
      { type: 'CapabilityAdvertise', address: 'a@fame.fabric', capabilities: ['c'] },
      {},
      'CapabilityAdvertiseAck',
    ],
    [
      { type: 'CapabilityWithdraw', address: 'a@fame.fabric', capabilities: ['c'] },
      {},
      'CapabilityWithdrawAck',
    ],
    [{ type: 'Data', payload: { a: 1 } }, { to: 'math@fame.fabric', rtype: 2 }, 'DeliveryAck'],
    [
      { type: 'Data', payload: { a: 1 } },
      { capabilities: ['fame.capability.agent'], rtype: 2 },
      'DeliveryAck',
    ],
    [{ type: 'SecureOpen', cid: 'x' }, { to: 'math@fame.fabric' }, 'DeliveryAck'],
    [{ type: 'DeliveryAck', ok: true, refId: 'r' }, { to: 'math@fame.fabric' }, 'DeliveryAck'],
    [{ type: 'KeyRequest', kid: 'k' }, {}, 'DeliveryAck'],
    [{ type: 'KeyAnnounce', physicalPath: '/S/plain/x', keys: [] }, {}, 'DeliveryAck'],
    [{ type: 'CallCancel', corrId: 'c' }, {}, 'DeliveryAck'],
    [{ type: 'WhoIs', address: '__rpc__x@/S/caller', corrId: 'c' }, {}, 'DeliveryAck'],
  ];
  it.each(frames)('of %j is missed', (frame, header, answerType) => {
    const { agent, attach, counters } = pair();
    const plain = attach('plain', { sign: () => {} });
    const replyTo = `__rpc__plain@${plain.path}`;
    const answers = plain.send(frame, { corrId: 'c', replyTo, ...header });
    expect(answers).toHaveLength(1);
    expect(answers[0]).toMatchObject({
      corrId: 'c',
      frame: { type: answerType, ok: false, code: 'SIGNATURE_MISSING' },
    });
    expect(isFromSentinel(plain, answers[0]!)).toBe(true);
    expect(agent.transport.take()).toEqual([]);
    expect(counters.refused.SIGNATURE_MISSING).toBe(1);
  });
});

describe('forged envelopes', () => {
  // In JSON.parse the last of two equal keys wins.
  it.each([
    '"frame":{"type":"CreditUpdate","flowId":"f","credits":1,"type":"AddressBind","address":"evil@fame.fabric"}',
    '"frame":{"type":"CreditUpdate","flowId":"f","credits":1},"frame":{"type":"AddressBind","address":"evil@fame.fabric"}',
  ])('a frame that begins like a CreditUpdate is not exempt: %s', (text) => {
    const { attach, bindings } = makeOverlay();
    const plain = attach('plain', { sign: () => {} });
    const { frame: _frame, ...header } = makeEnvelope(
      { type: 'NodeHeartbeat' },
      { corrId: 'b', flowId: 'f' },
    );
    plain.transport.onMessage!(Buffer.from(`${JSON.stringify(header).slice(0, -1)},${text}}`));
    expect(codeOf(plain.transport.take())).toBe('SIGNATURE_MISSING');
    expect(bindings.addressesOf(plain.session)?.size ?? 0).toBe(0);
  });

  test('a node that is asked for the key of its address cannot name the path of another node', () => {
    const { agent, caller } = pair();
    const ask = (physicalPath: string): Envelope[] => {
      caller.send({ type: 'KeyRequest', address: 'math@fame.fabric' }, { corrId: 'k' });
      const [request] = agent.transport.take();
      agent.send({ type: 'KeyAnnounce', physicalPath, keys: [agent.key.jwk] }, { corrId: request!.corrId });
      return caller.transport.take();
    };
    expect(ask(caller.path)).toEqual([]);
    expect(ask('/S')).toEqual([]);
    expect(ask(`${agent.path}/below`)).toHaveLength(1);
  });

  // Forgeries that a hostile node can build from its own keys and from captured messages.
  test('5,000 forged, altered and foreign envelopes: none is accepted', () => {
    const { agent, attach, bindings, caller, counters } = pair();
    const evil = attach('evil', { sign: () => {} });
    const evilKey = evil.key;
    const signed = (key: SigningKey, path: string, frame: Frame, header: Partial<Envelope>): Envelope => {
      const envelope = makeEnvelope(frame, { sid: sidOf(path), flowId: 'f', ...header });
      signEnvelope(envelope, key, path);
      return envelope;
    };
    const request = (n: number): [Frame, Partial<Envelope>] => [
      { type: 'Data', payload: { jsonrpc: '2.0', id: `c${n}`, method: 'pay', params: { n } } },
      { to: 'math@fame.fabric', corrId: `c${n}`, rtype: 2, replyTo: `__rpc__evil@${evil.path}` },
    ];
    const bind = (n: number): [Frame, Partial<Envelope>] => [
      { type: 'AddressBind', address: `evil${n}@fame.fabric` },
      { corrId: `b${n}`, rtype: 1, replyTo: `__sys__@${evil.path}` },
    ];
    const ofCaller = (n: number): Envelope => {
      const [frame, header] = request(n);
      return signed(caller.key, caller.path, frame, { ...header, replyTo: `__rpc__c@${caller.path}` });
    };
    const own = (n: number): Envelope => signed(evilKey, evil.path, ...(n % 2 === 0 ? request(n) : bind(n)));
    const forgeries: ((n: number) => unknown)[] = [
      // Replayed messages of another node, also with the mailbox of this one.
      (n) => ofCaller(n),
      (n) => ({ ...ofCaller(n), sid: sidOf(evil.path) }),
      (n) => ({ ...ofCaller(n), replyTo: `__rpc__evil@${evil.path}` }),
      // Another node's name with its own key, and the reverse.
      (n) => signed(evilKey, caller.path, ...request(n)),
      (n) => signed(caller.key, evil.path, ...request(n)),
      (n) => signed({ ...evilKey, kid: caller.key.kid }, caller.path, ...request(n)),
      (n) => signed({ ...generateSigningKey(), kid: evilKey.kid }, evil.path, ...bind(n)),
      (n) => signed({ ...evilKey, kid: newId() }, evil.path, ...bind(n)),
      // Own messages with one altered field.
      (n) => ({ ...own(n), id: newId() }),
      (n) => ({ ...own(n), corrId: newId() }),
      (n) => ({ ...own(n), traceId: newId() }),
      (n) => ({ ...own(n), to: 'other@fame.fabric' }),
      (n) => ({ ...own(n), replyTo: `__sys__@${evil.path}/x` }),
      (n) => ({ ...own(n), version: '1.1' }),
      (n) => ({ ...own(n), sid: undefined }),
      (n) => ({ ...own(n), capabilities: ['fame.capability.agent'] }),
      (n) => {
        const envelope = own(n);
        return {
          ...envelope,
          frame: { ...envelope.frame, pd: sidOf(String(n)), address: `x${n}@fame.fabric` },
        };
      },
      (n) => ({ ...signed(evilKey, evil.path, ...request(n)), frame: bind(n)[0] }),
      // No signature, or one of another form.
      (n) => ({ ...own(n), sec: undefined }),
      (n) => ({ ...own(n), sec: { sig: { kid: evilKey.kid, val: '' } } }),
      (n) => ({ ...own(n), sec: { sig: { kid: evilKey.kid, val: 'A'.repeat(86), alg: 'EdDSA' } } }),
      (n) => ({ ...own(n), sec: { sig: { kid: evilKey.kid, val: 'A'.repeat(86), alg: 'none' } } }),
      (n) => ({ ...own(n), sec: { sig: [] } }),
      (n) => ({ ...own(n), sec: { ...(own(n + 2).sec as object) } }),
      (n) => {
        const envelope = signed(evilKey, evil.path, ...request(n));
        return { ...envelope, frame: { ...envelope.frame, pd: undefined } };
      },
    ];
    for (let n = 0; n < 5_000; n++) {
      evil.transport.receive(forgeries[n % forgeries.length]!(n));
      const answers = evil.transport.take().filter(({ frame }) => frame.type !== 'CreditUpdate');
      expect(answers, `forgery ${n % forgeries.length}`).toHaveLength(1);
      expect(answers[0]!.frame).toMatchObject({ ok: false, code: expect.stringMatching(/^SIGNATURE_/) });
    }
    expect(agent.transport.take()).toEqual([]);
    expect(caller.transport.take()).toEqual([]);
    expect(bindings.addressesOf(evil.session)?.size ?? 0).toBe(0);
    expect(counters.refused.SIGNATURE_MISSING! + counters.refused.SIGNATURE_INVALID!).toBe(5_000);
  });

  test('with verifiesData false, Data is left to its receiver, and nothing else is', () => {
    const { attach } = makeOverlay({ verifiesData: false });
    const agent = attach('agent');
    agent.bind('math@fame.fabric');
    const plain = attach('plain', { sign: () => {} });
    plain.call('math@fame.fabric', 'c');
    expect(agent.transport.take()).toHaveLength(1);
    expect(codeOf(plain.send({ type: 'AddressBind', address: 'a@fame.fabric' }, { corrId: 'b' }))).toBe(
      'SIGNATURE_MISSING',
    );
  });
});

describe('sentinels', () => {
  test('a peer announces the keys of its nodes, which verify messages of the peer only', () => {
    const { agent, attach, caller } = pair();
    const remote = generateSigningKey();
    const peer = attach('P', { peer: true });
    const announced = peer.transport.take().map(({ frame }) => frame);
    expect(announced.filter(({ type }) => type === 'KeyAnnounce')).toHaveLength(2);
    peer.send({ type: 'KeyAnnounce', physicalPath: '/P/node', keys: [remote.jwk] });
    // A path of another node and a key id of another node are refused.
    peer.send({ type: 'KeyAnnounce', physicalPath: '/S/agent', keys: [generateSigningKey().jwk] });
    peer.send({ type: 'KeyAnnounce', physicalPath: '/P/x', keys: [{ ...remote.jwk, kid: caller.key.kid }] });
    const ask = (kid: string): Envelope[] => agent.send({ type: 'KeyRequest', kid }, { corrId: 'k' });
    expect((ask(remote.kid)[0]!.frame as KeyAnnounce).physicalPath).toBe('/P/node');
    expect((ask(caller.key.kid)[0]!.frame as KeyAnnounce).physicalPath).toBe(caller.path);

    const call = makeEnvelope(
      { type: 'Data', payload: { jsonrpc: '2.0', id: 'r', method: 'm' } },
      {
        sid: undefined,
        to: 'math@fame.fabric',
        replyTo: '__rpc__x@/P/node',
        corrId: 'r',
        rtype: 2,
        flowId: 'f',
      },
    );
    signEnvelope(call, remote, '/P/node');
    peer.transport.receive({ ...call, traceId: 'altered' });
    expect(codeOf(peer.transport.take())).toBe('SIGNATURE_INVALID');
    peer.transport.receive(call);
    expect(agent.transport.take().filter(({ frame }) => frame.type === 'Data')).toHaveLength(1);
    // The same message from a node that is not behind the peer.
    caller.transport.receive({ ...call, id: newId() });
    expect(codeOf(caller.transport.take())).toBe('SIGNATURE_INVALID');
    // The key of a node that the peer has not announced is asked for by the receiver.
    const unknown = { ...call, id: newId(), corrId: 'r2' };
    signEnvelope(unknown, generateSigningKey(), '/P/other');
    peer.transport.receive(unknown);
    expect(agent.transport.take().filter(({ frame }) => frame.type === 'Data')).toHaveLength(1);
  });

  test('a child sentinel announces the keys of nodes below it', () => {
    const { agent, attach } = pair();
    const child = attach('child');
    const below = generateSigningKey();
    const path = `${child.path}/node`;
    child.send({ type: 'KeyAnnounce', physicalPath: path, keys: [below.jwk] });
    const call = makeEnvelope(
      { type: 'Data', payload: { jsonrpc: '2.0', id: 'r', method: 'm' } },
      {
        sid: undefined,
        to: 'math@fame.fabric',
        replyTo: `__rpc__x@${path}`,
        corrId: 'r',
        rtype: 2,
        flowId: 'f',
      },
    );
    signEnvelope(call, below, path);
    child.transport.receive(call);
    expect(agent.transport.take().filter(({ frame }) => frame.type === 'Data')).toHaveLength(1);
    child.lose(1000);
    expect(agent.send({ type: 'KeyRequest', kid: below.kid }, { corrId: 'k' })).toEqual([]);
  });
});

describe('the keys of a sentinel', () => {
  const made: string[] = [];
  const directory = (): string => {
    const path = mkdtempSync(join(tmpdir(), 'fame-keys-'));
    made.push(path);
    return path;
  };
  afterEach(() => {
    for (const path of made.splice(0)) rmSync(path, { recursive: true });
  });

  test('stay in the data directory, for its owner alone', () => {
    const dataDir = directory();
    const keys = openSentinelKeys(dataDir, 'S');
    const file = sentinelKeysFile(dataDir, 'S');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(openSentinelKeys(dataDir, 'S').jwks).toEqual(keys.jwks);
    expect(openSentinelKeys(dataDir, 'T').jwks).not.toEqual(keys.jwks);
    expect(JSON.stringify(keys.jwks)).not.toContain('"d"');
    const stored = JSON.parse(readFileSync(file, 'utf8')) as { signing: { d: string } };
    for (const content of ['', '{}', '[]', `{"signing":{"d":"${stored.signing.d}"`]) {
      writeFileSync(file, content);
      const open = (): unknown => openSentinelKeys(dataDir, 'S');
      expect(open).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
      expect(open).not.toThrow(stored.signing.d);
    }
  });

  test('are refused if others can read them', () => {
    const dataDir = directory();
    openSentinelKeys(dataDir, 'S');
    const file = sentinelKeysFile(dataDir, 'S');
    const content = readFileSync(file);
    rmSync(file);
    writeFileSync(file, content, { mode: 0o644 });
    expect(() => openSentinelKeys(dataDir, 'S')).toThrow(/other users can read it/);
  });
});

test('decoded and plain messages of one node are verified alike', () => {
  const { agent, caller } = pair();
  // A space makes the shape unusual, so the message is decoded.
  const envelope = makeEnvelope(
    { type: 'Data', payload: 'text' },
    { sid: undefined, to: 'math@fame.fabric', flowId: 'f', traceId: 'tü' },
  );
  signEnvelope(envelope, caller.key, caller.path);
  caller.transport.onMessage!(Buffer.from(` ${JSON.stringify(envelope)}`));
  const [received] = agent.transport.take();
  expect(decode(encode(received!)).id).toBe(envelope.id);
});
