// Faults of other Fame fabrics that ours must not have, as far as no other suite tests them. `faults.json` lists the tests of each
// of Q1 to Q31; the last test here compares that table with the titles.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Link } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { closeLinks, connectLink, mathService, serviceOf } from '../kit/our-node.ts';
import { percentile } from '../kit/percentile.ts';
import { fameArgs, freePort, ROOT, startNode } from '../kit/processes.ts';
import { id, type Json, RawNodes } from '../kit/raw-node.ts';
import { listNodes, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const MiB = 1_048_576;
let sentinel: OurSentinel;
let agent: Link;
let link: Link;
beforeAll(async () => {
  sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '300' } });
  [agent, link] = await Promise.all([
    connectLink(sentinel.url),
    connectLink(sentinel.url),
    startOurAgent(sentinel),
  ]);
  await agent.bind('math@fame.fabric', mathService());
});
afterAll(closeLinks);
const nodes = new RawNodes(() => sentinel.url);
afterEach(() => nodes.closeAll());

describe('an agent', () => {
  test('Q5: a caller that never acks does not block it, and gets its reply once', async () => {
    const caller = await nodes.attached();
    for (let n = 0; n < 10; n++) {
      const sent = caller.sendCall('math@fame.fabric', 'add', { args: [n, 1] }, { rtype: 3 });
      const answers = [
        await caller.next((m) => m.corrId === sent.corrId),
        await caller.next((m) => m.corrId === sent.corrId),
      ];
      expect(answers.map((m) => m.frame.type).sort()).toEqual(['Data', 'DeliveryAck']);
    }
    expect(await link.call('math@fame.fabric', 'add', { args: [1, 1] })).toBe(2);
  });

  test('Q23: a message that is sent again is acked again and handled once', async () => {
    let runs = 0;
    await agent.bind('once@fame.fabric', serviceOf({ work: () => ++runs }));
    const caller = await nodes.attached();
    const sent = caller.sendCall('once@fame.fabric', 'work', {}, { rtype: 3 });
    const isAck = (m: Json): boolean => m.corrId === sent.corrId && m.frame.type === 'DeliveryAck';
    expect((await caller.next(isAck)).frame).toMatchObject({ ok: true, refId: sent.id });
    for (let again = 0; again < 3; again++) {
      caller.raw(JSON.stringify(sent));
      expect((await caller.next(isAck)).frame.ok).toBe(true);
    }
    expect(runs).toBe(1);
  });

  test('Q8: a call to a participant that a live node does not have is refused at once', async () => {
    const began = Date.now();
    await expect(link.call(`unserved@${agent.path}`, 'any')).rejects.toMatchObject({ code: 'NO_ROUTE' });
    expect(Date.now() - began).toBeLessThan(1_000);
  });

  test('Q22: each of 50 parallel calls keeps its traceId, in the request and in the reply', async () => {
    let arrived = 0;
    const all = Promise.withResolvers<void>();
    await agent.bind(
      'traced@fame.fabric',
      serviceOf({
        async trace(_args, call) {
          if (++arrived === 50) all.resolve();
          await all.promise;
          return call.traceId;
        },
      }),
    );
    const caller = await nodes.attached();
    const ids = Array.from({ length: 50 }, () => id());
    const replies = await Promise.all(
      ids.map((traceId) => caller.call('traced@fame.fabric', 'trace', {}, { traceId })),
    );
    expect(replies.map((reply) => reply.frame.payload.result)).toEqual(ids);
    expect(replies.map((reply) => reply.traceId)).toEqual(ids);
  });

  test('Q29: tasks/resubscribe and agent.get_card are served', async () => {
    const card = await link.call('chat@fame.fabric', 'agent.get_card', {});
    expect(card).toMatchObject({ name: expect.any(String), capabilities: expect.any(Object) });
    const lost = link.stream('chat@fame.fabric', 'tasks/resubscribe', { id: 'no-such-task' });
    await expect(lost.next()).rejects.toMatchObject({ code: expect.not.stringMatching('METHOD_NOT_FOUND') });
  });

  test('Q26: no message is dropped for its signature: unsigned, signed and wrongly signed calls are answered', async () => {
    const caller = await nodes.attached();
    const sig = { alg: 'EdDSA', kid: 'unknown', val: 'AAAA' };
    for (const sec of [undefined, { sig }, { sig: null }, {}]) {
      const reply = await caller.call('math@fame.fabric', 'add', { args: [1, 2] }, sec ? { sec } : {});
      expect(reply.frame.payload.result).toBe(3);
    }
  });
});

describe('state', () => {
  test('Q12: 200 heartbeats of each of 100 idle nodes do not grow the memory, and Node warns of no listener leak', async () => {
    const idle = await Promise.all(Array.from({ length: 100 }, () => nodes.attached()));
    const beat = async (times: number): Promise<void> => {
      for (let n = 0; n < times; n++) {
        await Promise.all(idle.map((node) => node.heartbeat()));
      }
    };
    await beat(100);
    const before = sentinel.proc.rssBytes();
    await beat(100);
    expect((sentinel.proc.rssBytes() - before) / MiB).toBeLessThan(16);
    expect(sentinel.proc.output).not.toContain('MaxListenersExceededWarning');
  });

  test('Q13: 450 clients that attach, call and leave do not leave a node or an address behind', async () => {
    // The two links and the chat agent. Nodes of earlier tests may still be in their resume window.
    await expect.poll(() => listNodes(sentinel)).toHaveLength(3);
    for (let wave = 0; wave < 9; wave++) {
      const clients = await Promise.all(Array.from({ length: 50 }, () => nodes.attached()));
      await Promise.all(
        clients.map(async (client) => {
          await client.serve(`${client.systemId}@fame.fabric`);
          expect((await client.call('math@fame.fabric', 'add', { args: [1, 1] })).frame.payload.result).toBe(
            2,
          );
        }),
      );
      await Promise.all(clients.map((client) => (wave % 2 === 0 ? client.close() : client.cut())));
    }
    await expect.poll(() => listNodes(sentinel)).toHaveLength(3);
  });

  test('Q14: 2,000 calls leave no state in the caller', async () => {
    const fresh = await connectLink(sentinel.url);
    const before = fresh.counts;
    for (let wave = 0; wave < 20; wave++) {
      await Promise.all(
        Array.from({ length: 100 }, () => fresh.call('math@fame.fabric', 'add', { args: [1, 1] })),
      );
    }
    for await (const _ of fresh.stream('math@fame.fabric', 'count', { args: [100] }));
    expect(fresh.counts.calls).toBe(0);
    expect(fresh.counts.waiting).toBe(before.waiting);
    expect(fresh.counts.flowsReceived).toBeLessThanOrEqual(3);
    await fresh.close();
  });

  test('Q15: 5,000 bound addresses do not slow a call down', async () => {
    const caller = await nodes.attached();
    const median = async (): Promise<number> => {
      const times: number[] = [];
      for (let n = 0; n < 300; n++) {
        const began = performance.now();
        await caller.call('math@fame.fabric', 'echo', { args: [n] });
        times.push(performance.now() - began);
      }
      return percentile(times, 0.5);
    };
    await median();
    const before = await median();
    for (let binder = 0; binder < 5; binder++) {
      const node = await nodes.attached();
      await Promise.all(Array.from({ length: 1_000 }, (_, n) => node.serve(`a${binder}-${n}@fame.fabric`)));
    }
    // The peer becomes four times slower; the constant allows for a busy machine.
    expect(await median()).toBeLessThan(2 * before + 0.5);
  });
});

test('Q25: three members of a pool share 300 calls evenly', async () => {
  const counts = [0, 0, 0];
  for (const member of counts.keys()) {
    const node = await nodes.attached({ attach: { acceptedLogicals: ['*.fame.fabric'] } });
    await node.serve('shared@*.fame.fabric', (request) => {
      counts[member]!++;
      node.answer(request, member);
    });
  }
  const caller = await nodes.attached();
  await Promise.all(Array.from({ length: 300 }, () => caller.call('shared@fame.fabric', 'who')));
  for (const count of counts) expect(count).toBeGreaterThan(50);
});

describe('a child sentinel', () => {
  test('Q21: it announces each bind to its parent once', async () => {
    const announced: Json[] = [];
    const parent = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    parent.on('connection', (socket: WebSocket) => {
      socket.on('message', (bytes) => {
        const { id: refId, corrId, frame } = JSON.parse(String(bytes)) as Json;
        const reply = (ack: Json): void =>
          socket.send(Buffer.from(JSON.stringify({ id: id(), corrId, frame: ack })));
        if (frame.type === 'NodeAttach') {
          const [targetSystemId, targetPhysicalPath] = ['P', '/P'];
          const assignedPath = `/P/${frame.systemId}`;
          reply({ type: 'NodeAttachAck', ok: true, refId, targetSystemId, targetPhysicalPath, assignedPath });
        } else if (frame.type === 'AddressBind') {
          announced.push(frame.address);
          reply({ type: 'AddressBindAck', ok: true, refId, address: frame.address });
        } else if (frame.type === 'NodeHeartbeat') reply({ type: 'NodeHeartbeatAck', ok: true, refId });
      });
    });
    await once(parent, 'listening');
    const { port } = parent.address() as { port: number };
    const url = `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
    const child = await startOurSentinel({ env: { FAME_PARENT_URL: url } });
    const below = await connectLink(child.url);
    expect(below.path).toMatch(/^\/P\/[^/]+\/[^/]+$/);
    for (const name of ['one', 'two']) await below.bind(`${name}@fame.fabric`, mathService());
    await expect.poll(() => announced).toContain('two@fame.fabric');
    await below.unbind('one@fame.fabric');
    expect(announced).toEqual(['one@fame.fabric', 'two@fame.fabric']);
    await below.close();
    await child.proc.kill();
    parent.close();
    for (const socket of parent.clients) socket.terminate();
  });

  test('Q24: it retries until a parent that starts later is reachable', async () => {
    const port = await freePort();
    const env = {
      FAME_PARENT_URL: `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`,
      FAME_LOG_LEVEL: 'info',
    };
    const starting = startOurSentinel({ env });
    const parent = await startOurSentinel({ port });
    const child = await starting;
    const below = await connectLink(child.url);
    await below.bind('below@fame.fabric', mathService());
    const above = await connectLink(parent.url);
    await expect.poll(() => above.call('below@fame.fabric', 'add', { args: [2, 3] }).catch(() => 0)).toBe(5);
    await Promise.all([below.close(), above.close()]);
    await Promise.all([child.proc.kill(), parent.proc.kill()]);
  });

  test.each(['sentinel', 'agent'])(
    'Q24: Ctrl-C ends the %s that waits for its sentinel within a second',
    async (role) => {
      const url = `ws://127.0.0.1:${await freePort()}/fame/v1/attach/ws/downstream`;
      const env = {
        FAME_PARENT_URL: url,
        FAME_DIRECT_ADMISSION_URL: url,
        FAME_LISTENER_PORT: String(await freePort()),
        FAME_DATA_DIR: temporaryDirectory(),
        FAME_LOG_LEVEL: 'info',
      };
      const proc = startNode(fameArgs(role), { name: role, env });
      await proc.waitFor(/waiting|reach/i);
      const began = Date.now();
      await proc.stop('SIGINT');
      expect(Date.now() - began).toBeLessThan(1_000);
    },
  );
});

test('Q20: an unreachable sentinel is reported with its address', async () => {
  const port = await freePort();
  const url = `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
  const env = { FAME_CONNECT_TIMEOUT_MS: '300' };
  const { code, output } = await runFame({ url, env }, ['call', 'math@fame.fabric', 'add']);
  expect(code).toBe(69);
  expect(output).toContain(`127.0.0.1:${port}`);
});

test('every fault of the table has a test that names it', () => {
  type Named = { file: string; test: string };
  const table = JSON.parse(readFileSync(join(ROOT, 'test/conformance/faults.json'), 'utf8')) as Record<
    string,
    { fault: string; tests: Named[] }
  >;
  expect(Object.keys(table)).toEqual(Array.from({ length: 31 }, (_, n) => `Q${n + 1}`));
  for (const [name, { tests }] of Object.entries(table)) {
    expect(tests.length, name).toBeGreaterThan(0);
    for (const { file, test: title } of tests) {
      expect(title, `${name} in ${file}`).toMatch(new RegExp(`\\b${name}\\b`));
      const source = readFileSync(join(ROOT, file), 'utf8').replaceAll(/\\'/g, "'");
      expect(source.includes(title), `${file} has no test "${title}"`).toBe(true);
    }
  }
});
