// A cancel closes the model's socket, through sentinel and agent. The journal keeps the text so far, marked as cancelled, and
// the request of the next turn is valid.
import { stall } from '@fame-fabric/agents/testing';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { afterAll, expect, test } from 'vitest';
import { percentile } from '../kit/percentile.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { converse, lastUserText, openClient, startStack, stopStack } from '../kit/stack.ts';
import { JournalView } from './journal-view.ts';

const CANCELS = 200;
const MAX_MS = 250;

afterAll(stopStack);

test(`the model's socket is closed within ${MAX_MS} ms (p99 of ${CANCELS} cancels)`, async () => {
  const dataDir = temporaryDirectory();
  const respond = (request: Parameters<typeof lastUserText>[0]) =>
    lastUserText(request).startsWith('long') ? ['The beginning of ', 'an answer', stall()] : 'a short answer';
  const stack = await startStack({ model: { respond }, agent: { dataDir } });
  const client = await openClient(stack.sentinel.url);
  const conversation = await converse(client, { maxHistoryLength: 4 });
  const tookMs: number[] = [];
  for (let n = 1; n <= CANCELS; n++) {
    const stop = new AbortController();
    let cancelledAt = 0;
    let received = '';
    const turn = (async () => {
      for await (const event of conversation.stream(`long ${n}`, { turnId: `t${n}`, signal: stop.signal })) {
        if (event.type === 'text') received += event.text;
        if (received !== 'The beginning of an answer') continue;
        cancelledAt = performance.now();
        // Both ways to cancel: abort the call, or cancel the turn by its id.
        if (n % 2 === 0) stop.abort(new FabricError('CALL_CANCELLED', 'stopped'));
        else void conversation.cancel(`t${n}`);
        received = '';
      }
    })();
    const error: unknown = await turn.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(isFabricError(error, n % 2 === 0 ? 'CALL_CANCELLED' : 'TURN_CANCELLED')).toBe(true);
    const request = stack.model.requests.findLast(({ body }) => lastUserText(body) === `long ${n}`)!;
    expect(await request.ended).toBe('disconnected');
    tookMs.push(request.disconnectedAt! - cancelledAt);
    if (n % 10 === 0) expect(await conversation.ask(`short ${n}`)).toBe('a short answer');
  }
  const p99 = percentile(tookMs, 0.99);
  console.info(
    `cancel: the socket was closed after ${percentile(tookMs, 0.5).toFixed(1)} ms (p50), ${p99.toFixed(1)} ms (p99)`,
  );
  expect(p99).toBeLessThanOrEqual(MAX_MS);
  stack.model.assertValid();

  const journal = new JournalView(dataDir);
  const events = journal.events(conversation.id);
  journal.close();
  const cancelled = events.filter(({ kind }) => kind === 'turn_cancelled');
  expect(cancelled).toHaveLength(CANCELS);
  for (const { body } of cancelled) {
    expect(body).toMatchObject({ text: 'The beginning of an answer', error: { code: 'TURN_CANCELLED' } });
  }
}, 90_000);
