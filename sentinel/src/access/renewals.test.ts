// In-band renewal: the session gets the credential of the new token, and keeps everything else.
import type { Envelope, NodeAttachAck } from '@fame-fabric/shared';
import { FabricError } from '@fame-fabric/shared';
import { beforeEach, describe, expect, test } from 'vitest';
import { type FakeNode, makeTestParts } from '../testing/sentinel-parts.ts';
import { Access, type Authentication, type CredentialSource } from './access.ts';

const HOUR_MS = 3_600_000;
const ADA = { id: 'jwt:issuer.example/ada', roles: ['client'] as const };

/** Results that the source returns, in order. */
let answers: (Authentication | Promise<Authentication>)[];
let verified: string[];
let parts: ReturnType<typeof makeTestParts>;
let node: FakeNode;
beforeEach(() => {
  answers = [];
  verified = [];
  const source: CredentialSource = {
    label: 'tokens',
    accepts: () => true,
    authenticate(token) {
      verified.push(token);
      return answers.shift()!;
    },
  };
  parts = makeTestParts({ access: new Access({ sources: [source] }) });
  node = parts.attach('n', { principal: ADA, expiresAt: parts.clock.now() + HOUR_MS });
});

const granted = (more: object = {}): Authentication => ({
  ok: true,
  principal: ADA,
  expiresAt: parts.clock.now() + 2 * HOUR_MS,
  ...more,
});
const settled = () => new Promise((resolve) => setImmediate(resolve));
const send = (authorization = 'fresh'): Envelope[] =>
  node.send(
    { type: 'NodeAttach', originType: 'downstream', systemId: 'n', instanceId: 'instance-n', authorization },
    { corrId: 'renew' },
  );
const ackOf = ([envelope]: Envelope[]) => {
  expect(envelope).toMatchObject({
    corrId: 'renew',
    frame: { type: 'NodeAttachAck', refId: expect.any(String) },
  });
  return envelope!.frame as NodeAttachAck;
};

test('the attach states the time until the credential expires, and a renewal the new one', async () => {
  expect(node.ack.frame).toMatchObject({ expiresInMs: HOUR_MS });
  expect(parts.attach('other').ack.frame).not.toHaveProperty('expiresInMs');
  parts.clock.advance(1_000_000);
  answers = [Promise.resolve(granted({ principal: { ...ADA, roles: ['agent'] } }))];
  expect(send()).toEqual([]);
  await settled();
  expect(ackOf(node.transport.take())).toMatchObject({
    ok: true,
    assignedPath: node.path,
    expiresInMs: 2 * HOUR_MS,
    principal: { id: ADA.id, roles: ['agent'] },
  });
  expect(verified).toEqual(['fresh']);
  expect(node.session.terms.principal.roles).toEqual(['agent']);
});

test('a renewed session outlives its first token, with its addresses and calls', () => {
  node.bind('a@fame.fabric');
  const caller = parts.attach('caller');
  caller.call('a@fame.fabric', 'c1');
  const [request] = node.transport.take();
  parts.clock.advance(HOUR_MS - 1_000);
  answers = [granted()];
  expect(ackOf(send()).ok).toBe(true);
  parts.clock.advance(2_000);
  parts.sweeper.sweep();
  expect(node.transport.closed).toBeUndefined();
  node.reply(request!, 7);
  expect(caller.transport.take()).toMatchObject([{ corrId: 'c1', frame: { payload: { result: 7 } } }]);
  parts.clock.advance(2 * HOUR_MS);
  parts.sweeper.sweep();
  expect(node.transport.closed?.code).toBe(4410);
});

describe('a renewal is refused, and the session keeps its credential', () => {
  test.each<[string, () => Authentication, string]>([
    [
      'if the token is refused',
      () => ({ ok: false, fault: new FabricError('AUTH_EXPIRED', 'old') }),
      'AUTH_EXPIRED',
    ],
    [
      'if it is of another principal',
      () => granted({ principal: { ...ADA, id: 'jwt:issuer.example/eve' } }),
      'AUTH_FORBIDDEN',
    ],
    [
      'if it is for another node',
      () => granted({ nodeFault: () => new FabricError('AUTH_FORBIDDEN', 'another node') }),
      'AUTH_FORBIDDEN',
    ],
  ])('%s', (_what, answer, code) => {
    const before = node.session.terms;
    answers = [answer()];
    expect(ackOf(send())).toMatchObject({ ok: false, code });
    expect(node.session.terms).toBe(before);
    expect(node.transport.closed).toBeUndefined();
  });

  test('while another one is verified', async () => {
    answers = [Promise.resolve(granted())];
    send('one');
    expect(ackOf(send('two'))).toMatchObject({ ok: false, code: 'NODE_BUSY' });
    await settled();
    expect(ackOf(node.transport.take())).toMatchObject({ ok: true });
    expect(verified).toEqual(['one']);
    answers = [granted()];
    expect(ackOf(send('three'))).toMatchObject({ ok: true });
  });

  test('if the token is empty', () => {
    expect(ackOf(send(''))).toMatchObject({ ok: false, code: 'AUTH_INVALID' });
    expect(verified).toEqual([]);
  });
});

test('an answer that comes after the connection was lost has no effect', async () => {
  const { promise, resolve } = Promise.withResolvers<Authentication>();
  answers = [promise];
  send();
  const before = node.session.terms;
  node.lose();
  resolve(granted());
  await settled();
  expect(node.session.terms).toBe(before);
  expect(node.transport.take()).toEqual([]);
});

test('a NodeAttach without a token is still out of order', () => {
  const frame = { type: 'NodeAttach', originType: 'downstream', systemId: 'n', instanceId: 'i' } as const;
  expect(node.send(frame, { corrId: 'again' })).toMatchObject([{ frame: { code: 'PROTO_OUT_OF_ORDER' } }]);
});
