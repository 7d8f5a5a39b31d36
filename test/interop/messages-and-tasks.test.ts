// Our client and unmodified agents of the peer: acknowledged messages, tasks, subscriptions, cancellation, push notifications and many
// tasks at once, on our sentinel and on that of the peer.
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPeerAgent, startPeerSentinel } from '../kit/naylence.ts';
import type { Proc } from '../kit/processes.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

const WORK = 'work@fame.fabric';
const PUSH = 'push@fame.fabric';
const RECEIVER = 'receiver@fame.fabric';

describe.each([
  ['our sentinel', startOurSentinel],
  ['the sentinel of the peer', startPeerSentinel],
] as const)('NF6, NF7: on %s', (_name, startSentinel) => {
  let client: Client;
  let receiver: Proc;

  beforeAll(async () => {
    const { url } = await startSentinel();
    const others = ['work', 'push'].map((kind) => startPeerAgent(kind, { url }));
    receiver = await startPeerAgent('receiver', { url });
    await Promise.all(others);
    client = await connect({ url });
  }, 120_000);
  afterAll(() => client?.close());

  test('an acknowledged message reaches the agent once, and a plain one too', async () => {
    await client.send(RECEIVER, { n: 1 }, { ack: true, timeoutMs: 5_000 });
    client.send(RECEIVER, { n: 2 });
    await receiver.waitFor(/"message":\{"n":1\}[\s\S]*"message":\{"n":2\}/);
    expect(receiver.output.match(/"message":\{"n":1\}/g)).toHaveLength(1);
  });

  test('a message to an address that is not served is refused', async () => {
    const sending = client.send('unserved@fame.fabric', 'x', { ack: true });
    await expect(sending).rejects.toMatchObject({ code: 'NO_ROUTE' });
  });

  test('a task runs, and its subscription yields every event', async () => {
    const work = client.task(WORK);
    expect(await work.run({ steps: 2 })).toEqual({ steps: 2 });
    const { id } = await work.start({ steps: 3 });
    const seen: string[] = [];
    for await (const event of work.subscribe(id)) {
      seen.push('status' in event ? event.status.state : `#${event.artifact.index}`);
    }
    expect(seen).toEqual(['working', '#1', '#2', '#3', 'completed']);
    expect(await work.get(id)).toMatchObject({ id, status: { state: 'completed' } });
  });

  test('a task is cancelled, by a request and by an abort', async () => {
    const work = client.task(WORK);
    const { id } = await work.start({ steps: 500 });
    const seen: string[] = [];
    for await (const event of work.subscribe(id)) {
      if ('status' in event) seen.push(event.status.state);
      else if (event.artifact.index === 2) await work.cancel(id);
    }
    expect(seen).toEqual(['working', 'canceled']);

    const controller = new AbortController();
    const reason = new Error('enough');
    const options = { id: 'aborted', signal: controller.signal, onEvent: () => controller.abort(reason) };
    await expect(work.run({ steps: 500 }, options)).rejects.toBe(reason);
    await expect.poll(async () => (await work.get('aborted')).status.state).toBe('canceled');
  });

  test('a subscription that is left is followed by calls that are answered', async () => {
    const work = client.task(WORK);
    const { id } = await work.start({ steps: 20 });
    for await (const event of work.subscribe(id)) if ('artifact' in event) break;
    expect(await work.run({ steps: 1 })).toEqual({ steps: 1 });
  });

  test('a subscription to an unknown task fails', async () => {
    const reading = client.task(WORK).subscribe('unknown')[Symbol.asyncIterator]().next();
    await expect(reading).rejects.toMatchObject({ code: 'TASK_UNKNOWN' });
  });

  test('the destination of notifications is set and read, and receives them', async () => {
    const push = client.task(PUSH);
    await push.setPush('p1', { url: RECEIVER });
    expect(await push.getPush('p1')).toMatchObject({ url: RECEIVER });
    await client.call(PUSH, 'notify', { args: ['p1'] });
    for (const n of [1, 2, 3]) await receiver.waitFor(new RegExp(`"task_id":"p1","n":${n}`));
  });

  test('many tasks have a result or an error for each address', async () => {
    const outcomes = await client.runMany([
      [WORK, { steps: 1 }],
      ['unserved@fame.fabric', { steps: 1 }],
      [WORK, { steps: 2 }],
    ]);
    expect(outcomes).toMatchObject([
      { address: WORK, ok: true, result: { steps: 1 } },
      { ok: false, error: { code: 'NO_ROUTE' } },
      { address: WORK, ok: true, result: { steps: 2 } },
    ]);
  });
});
