import { Link, type LinkOptions } from '@fame-fabric/shared';
import { ManualClock, ScriptedSentinel, settle } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { testFabric } from '../testing/test-fabric.ts';
import { defineAgent } from './agent.ts';
import { type OperationContext, operation } from './operation.ts';
import { ScopedLink } from './scoped-link.ts';

const links: Link[] = [];
afterEach(async () => {
  for (const link of links.splice(0)) await link.close();
});

/** A fabric on a manual clock, without a router in the way. */
function fabric() {
  const clock = new ManualClock();
  const sentinel = new ScriptedSentinel();
  const connect = async (systemId: string, more: Partial<LinkOptions> = {}): Promise<Link> => {
    const link = new Link({ url: 'ws://memory', dial: sentinel.dial, systemId, clock, ...more });
    links.push(link);
    await link.connect();
    return link;
  };
  return { clock, sentinel, connect };
}

const agentOf = (name: string, run: (context: OperationContext) => unknown) =>
  defineAgent({
    address: `${name}@fame.fabric`,
    operations: { run: operation({ run: (_, context) => run(context) }) },
  });

/** Runs `run` in an agent of its own. */
async function serve(
  { clock, connect }: ReturnType<typeof fabric>,
  name: string,
  run: (context: OperationContext) => unknown,
) {
  const link = await connect(name);
  await agentOf(name, run).serve(link, { clock });
  return link;
}

describe('onBehalf', () => {
  test('names the call that is served, for the WhoIs of the callee', async () => {
    const parts = fabric();
    const { sentinel } = parts;
    sentinel.principal = { id: 'local', roles: ['admin'] };
    await serve(parts, 'b', async ({ caller }) => (await caller)?.principal);
    await serve(parts, 'a', async ({ link }) => [
      await link.call('b@fame.fabric', 'run', {}, { onBehalf: true, meta: { more: 1 } }),
      await link.call('b@fame.fabric', 'run'),
    ]);
    const client = await parts.connect('client');
    expect(await client.call('a@fame.fabric', 'run', {}, { id: 'outer' })).toEqual(['local', 'local']);
    const [behalf, own] = sentinel.nodes.flatMap((node) => sentinel.framesOf('WhoIs', node));
    expect(behalf!.frame).toMatchObject({
      onBehalf: expect.stringMatching(/^__rpc__\S+@\S*client outer$/),
    });
    expect(own!.frame).not.toHaveProperty('onBehalf');
  });

  test('is refused on a link without an open call, as in a turn or a task', async () => {
    const link = await fabric().connect('a');
    const call = async () => new ScopedLink(link).call('b@fame.fabric', 'run', {}, { onBehalf: true });
    await expect(call()).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringContaining('onBehalf'),
    });
  });
});

describe('HD18: the calls of a call', () => {
  test('carry one hop less, or 8 if the call counts no hops', async () => {
    const parts = fabric();
    const ttls: (number | undefined)[] = [];
    parts.sentinel.intercept = ({ frame, ttl }) => {
      if (frame.type === 'Data' && 'method' in Object(frame.payload)) ttls.push(ttl);
      return true;
    };
    await serve(parts, 'b', ({ link }) => link.call('c@fame.fabric', 'run').catch(() => 'none'));
    await serve(parts, 'a', ({ link }) => link.call('b@fame.fabric', 'run'));
    const client = await parts.connect('client');
    expect(await client.call('a@fame.fabric', 'run')).toBe('none');
    expect(ttls).toEqual([undefined, 8, 7]);
  });

  test('end after 8 hops in a circle, also between agents of one link', async () => {
    const parts = fabric();
    let calls = 0;
    const link = await parts.connect('both');
    for (const [name, other] of [
      ['a', 'b'],
      ['b', 'a'],
    ]) {
      const run = (_: unknown, context: OperationContext) => {
        calls++;
        return context.link.call(`${other}@fame.fabric`, 'run');
      };
      const agent = defineAgent({ address: `${name}@fame.fabric`, operations: { run: operation({ run }) } });
      await agent.serve(link, { clock: parts.clock });
    }
    const client = await parts.connect('client');
    await expect(client.call('a@fame.fabric', 'run')).rejects.toMatchObject({ code: 'HOPS_EXCEEDED' });
    expect(calls).toBe(9);
  });

  test('carry its trace id, and are cancelled with it', async () => {
    const called = Promise.withResolvers<string | undefined>();
    const cancelled = Promise.withResolvers<void>();
    const a = agentOf('a', ({ link }) => link.call('b@fame.fabric', 'run'));
    const b = agentOf('b', ({ traceId, signal }) => {
      signal.addEventListener('abort', () => cancelled.resolve());
      called.resolve(traceId);
      return new Promise(() => {});
    });
    const { link } = await testFabric([a, b]);
    links.push(link);
    const leaving = new AbortController();
    const call = link.call('a@fame.fabric', 'run', {}, { traceId: 'trace-1', signal: leaving.signal });
    const failure = expect(call).rejects.toBe('left');
    expect(await called.promise).toBe('trace-1');
    leaving.abort('left');
    await Promise.all([cancelled.promise, failure]);
  });

  test('end with its deadline, and its signal aborts', async () => {
    const parts = fabric();
    const { clock } = parts;
    let inner: unknown;
    let signal: AbortSignal | undefined;
    const deadlines: unknown[] = [];
    parts.sentinel.intercept = ({ frame, meta }) => {
      if (frame.type === 'Data' && 'method' in Object(frame.payload)) deadlines.push(meta?.['timeout-ms']);
      return true;
    };
    await serve(parts, 'idle', () => new Promise(() => {}));
    await serve(parts, 'a', async (context) => {
      ({ signal } = context);
      await clock.run(0);
      inner = await context.link.call('idle@fame.fabric', 'run', {}, { timeoutMs: 600_000 }).catch((e) => e);
      return 'done';
    });
    const client = await parts.connect('client');
    const call = client.call('a@fame.fabric', 'run', {}, { deadlineMs: 5_000, timeoutMs: 60_000 });
    call.catch(() => {});
    await settle();
    await clock.run(4_000, 500);
    expect(signal?.aborted).toBe(false);
    await clock.run(2_000, 500);
    await expect(call).rejects.toMatchObject({ code: 'CALL_TIMEOUT' });
    expect(signal?.aborted).toBe(true);
    expect(inner).toMatchObject({ code: 'CALL_TIMEOUT' });
    expect(deadlines).toEqual([5_000, 5_000]);
  });

  test('carry their own time limit if it is shorter; a stream carries none', async () => {
    const parts = fabric();
    const seen: unknown[] = [];
    parts.sentinel.intercept = ({ frame, meta, rtype }) => {
      if (frame.type === 'Data' && 'method' in Object(frame.payload)) seen.push([rtype, meta]);
      return true;
    };
    await serve(parts, 'a', async ({ link }) => {
      const meta = { hops: 1 };
      await link.call('none@fame.fabric', 'run', {}, { timeoutMs: 1_000, meta }).catch(() => {});
      const items = link.stream('none@fame.fabric', 'run', {}, { meta });
      await items[Symbol.asyncIterator]()
        .next()
        .catch(() => {});
      return null;
    });
    const client = await parts.connect('client');
    await client.call('a@fame.fabric', 'run');
    expect(seen.slice(1)).toEqual([
      [2, { hops: 1, 'timeout-ms': 1_000 }],
      [4, { hops: 1 }],
    ]);
  });

  test('a call that may last longer than 15 minutes carries its time limit', async () => {
    const { connect, sentinel } = fabric();
    const metas: unknown[] = [];
    sentinel.intercept = ({ frame, meta }) => {
      if (frame.type === 'Data') metas.push(meta);
      return true;
    };
    const client = await connect('client');
    for (const timeoutMs of [900_000, 1_200_000, Number.POSITIVE_INFINITY]) {
      await client.call('none@fame.fabric', 'run', {}, { timeoutMs }).catch(() => {});
    }
    expect(metas).toEqual([undefined, { 'timeout-ms': 1_200_000 }, undefined]);
  });
});
