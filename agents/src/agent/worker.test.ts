import { Link, makeEnvelope } from '@fame-fabric/shared';
import { CaptureLog, ManualClock, ScriptedSentinel, settle } from '@fame-fabric/shared/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { defineAgent } from './agent.ts';
import type { Agent } from './agent-types.ts';
import { operation } from './operation.ts';
import { AgentWorker } from './worker.ts';

let sentinel: ScriptedSentinel;
let clock: ManualClock;
let log: CaptureLog;
let steps: string[];

const newLink = () => new Link({ url: 'memory://s', dial: sentinel.dial, clock });
const agentAt = (name: string, run: () => unknown = () => name) =>
  defineAgent({
    address: `${name}@fame.fabric`,
    operations: { run: operation({ run }) },
    onStart: () => void steps.push(`start ${name}`),
    onStop: () => void steps.push(`stop ${name}`),
  });
const workerOf = (link: Link, ...agents: Agent[]) => new AgentWorker(agents, { link, log, clock });

async function caller(): Promise<Link> {
  const link = newLink();
  await link.connect();
  return link;
}

beforeEach(() => {
  sentinel = new ScriptedSentinel();
  clock = new ManualClock();
  log = new CaptureLog();
  steps = [];
});

describe('AgentWorker', () => {
  it('serves its agents in order on one link', async () => {
    const link = newLink();
    const worker = workerOf(link, agentAt('a'), agentAt('b'));
    await worker.start();
    const client = await caller();
    expect(await client.call('a@fame.fabric', 'run')).toBe('a');
    expect(await client.call('b@fame.fabric', 'run')).toBe('b');
    await worker.drain(1_000);
    expect(steps.slice(0, 2)).toEqual(['start a', 'start b']);
    expect(steps.slice(2).sort()).toEqual(['stop a', 'stop b']);
    expect(link.state).toBe('closed');
    expect(sentinel.bound.size).toBe(0);
    await client.close();
  });

  it('lets a running call finish, and accepts no new one', async () => {
    const gate = Promise.withResolvers<string>();
    const worker = workerOf(
      newLink(),
      agentAt('a', () => gate.promise),
    );
    await worker.start();
    const client = await caller();
    const running = client.call('a@fame.fabric', 'run');
    await settle();
    const drained = worker.drain(10_000);
    await settle();
    expect(sentinel.bound.has('a@fame.fabric')).toBe(false);
    await expect(client.call('a@fame.fabric', 'run')).rejects.toMatchObject({ code: 'NO_ROUTE' });
    gate.resolve('finished');
    expect(await running).toBe('finished');
    await drained;
    await client.close();
  });

  it('HD27: answers a message with an error if its handler fails, its queue is full or it has none', async () => {
    const gate = Promise.withResolvers<void>();
    const agent = defineAgent({
      address: 'm@fame.fabric',
      maxConcurrent: 1,
      maxWaiting: 0,
      async onMessage(payload) {
        if (payload === 'wait') await gate.promise;
        throw new Error('canary');
      },
    });
    const worker = workerOf(newLink(), agent, agentAt('a'));
    await worker.start();
    const caller = sentinel.node;
    const answers: [string | undefined, string | undefined][] = [];
    sentinel.intercept = ({ corrId, frame }) => {
      if (frame.type !== 'Data') return true;
      const { error } = frame.payload as { error?: { data: { code: string } } };
      answers.push([corrId, error?.data.code]);
      expect(JSON.stringify(frame)).not.toContain('canary');
      return false;
    };
    const send = async (payload: unknown, corrId: string, to = 'm@fame.fabric') => {
      const header = { to, corrId, replyTo: '__rpc__x@/S/x', rtype: 2 };
      sentinel.send(caller, makeEnvelope({ type: 'Data', payload }, header));
      await settle();
    };
    await send('wait', 'first');
    await send('x', 'busy');
    gate.resolve();
    await settle();
    await send(null, 'plain', 'a@fame.fabric');
    expect(answers).toEqual([
      ['busy', 'NODE_BUSY'],
      ['first', 'INTERNAL'],
      ['plain', 'REQUEST_INVALID'],
    ]);
    expect(log.messages('error')).toEqual([]);
    await worker.drain(0);
  });

  it('HD31: attaches again within 2 s after its sentinel returns, however long that was away', async () => {
    const link = newLink();
    const worker = workerOf(link, agentAt('a'));
    await worker.start();
    for (const awayMs of [5_000, 30_000, 120_000]) {
      await clock.run(5_000, 100);
      expect(link.state).toBe('attached');
      sentinel.isDown = true;
      sentinel.node.transport.close(1006, '');
      const before = sentinel.dials;
      await clock.run(awayMs, 50);
      // With jitter, from 1 to 2 s: a sentinel that stays away is not flooded.
      expect(sentinel.dials - before).toBeLessThanOrEqual(awayMs / 1_000 + 4);
      sentinel.isDown = false;
      await clock.run(2_000, 50);
      expect(link.state).toBe('attached');
      expect(sentinel.bound.has('a@fame.fabric')).toBe(true);
    }
    await worker.drain(0);
  });

  it('stops waiting after the drain time, and fails the remaining calls with NODE_GONE', async () => {
    const link = newLink();
    const worker = workerOf(
      link,
      agentAt('a', () => new Promise(() => {})),
    );
    await worker.start();
    const client = await caller();
    const running = client.call('a@fame.fabric', 'run');
    running.catch(() => {});
    await settle();
    const drained = worker.drain(10_000);
    await clock.run(9_000);
    expect(link.state).not.toBe('closed');
    await clock.run(2_000);
    await expect(running).rejects.toMatchObject({ code: 'NODE_GONE' });
    await drained;
    expect(link.state).toBe('closed');
    expect(steps).toEqual(['start a', 'stop a']);
    await client.close();
  });

  it('stops the agents before one that cannot be served', async () => {
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'AddressBind' || envelope.frame.address !== 'b@fame.fabric')
        return undefined;
      sentinel.answer(node, envelope, {
        type: 'AddressBindAck',
        ok: false,
        code: 'ADDRESS_IN_USE',
        reason: 'taken',
      });
      return false;
    };
    const link = newLink();
    const worker = workerOf(link, agentAt('a'), agentAt('b'), agentAt('c'));
    await expect(worker.start()).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' });
    expect(steps.slice(0, 2)).toEqual(['start a', 'start b']);
    expect(steps.slice(2).sort()).toEqual(['stop a', 'stop b']);
    expect(link.state).toBe('closed');
  });

  it('survives an agent that fails to stop', async () => {
    const bad = defineAgent({
      address: 'bad@fame.fabric',
      onStop() {
        throw new Error('cannot stop');
      },
    });
    const link = newLink();
    const worker = workerOf(link, agentAt('a'), bad);
    await worker.start();
    await worker.drain(1_000);
    expect(link.state).toBe('closed');
    expect(steps).toContain('stop a');
    expect(log.messages('error')).toEqual(['agent failed to stop']);
  });

  it('stops starting when its signal aborts', async () => {
    sentinel.isDown = true;
    const link = newLink();
    const stop = new AbortController();
    const starting = workerOf(link, agentAt('a')).start({ signal: stop.signal });
    stop.abort(new Error('enough'));
    await expect(starting).rejects.toThrow('enough');
    expect(link.state).toBe('closed');
    expect(steps).toEqual([]);
  });

  it('refuses two agents with one address', () => {
    expect(() => workerOf(newLink(), agentAt('a'), agentAt('a'))).toThrow(
      expect.objectContaining({ code: 'ADDRESS_IN_USE' }),
    );
  });
});
