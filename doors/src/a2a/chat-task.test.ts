// The updates of a turn from its events, without a fabric.
import type { StreamResponse } from '@a2a-js/sdk';
import { StreamResponse as Codec } from '@a2a-js/sdk';
import type { ConversationEvent } from '@fame-fabric/client';
import { expect, test } from 'vitest';
import { type Json, statesIn, textAfter } from '../testing/a2a-kit.ts';
import { turnUpdates } from './chat-task.ts';

const ids = { taskId: 'task', contextId: 'context' };
const AT = '2030-01-01T00:00:00.000Z';

async function* eventsOf(events: readonly Json[]): AsyncGenerator<ConversationEvent> {
  for (const [index, event] of events.entries())
    yield { seq: index + 1, at: AT, turn_id: 't', ...event } as unknown as ConversationEvent;
}

async function updatesOf(events: readonly Json[], text = ''): Promise<Json[]> {
  const updates: Json[] = [];
  const view = { turnId: 't', text, approvals: [] };
  for await (const update of turnUpdates(ids, view, eventsOf(events)))
    updates.push(Codec.toJSON(update satisfies StreamResponse) as Json);
  return updates;
}
const before = (text: string): Json => ({
  task: { status: { state: 'TASK_STATE_WORKING' }, artifacts: [{ parts: [{ text }] }] },
});

test('a restart replaces the artifact with the text that stays valid', async () => {
  const updates = await updatesOf([
    { type: 'text', text: 'Hello wrong' },
    { type: 'restart', keep: 6 },
    { type: 'text', text: 'right' },
    { type: 'done', text: 'Hello right' },
  ]);
  expect(updates[1]!.artifactUpdate).toMatchObject({ artifact: { parts: [{ text: 'Hello ' }] } });
  expect(updates[1]!.artifactUpdate.append).toBeUndefined();
  expect(textAfter(updates)).toBe('Hello right');
});

test('a restart that withdraws all text, and one that withdraws no text', async () => {
  const all = await updatesOf(
    [
      { type: 'restart', keep: 0 },
      { type: 'text', text: 'New' },
      { type: 'done', text: 'New' },
    ],
    'Old',
  );
  expect(textAfter([before('Old'), ...all])).toBe('New');
  const none = await updatesOf(
    [
      { type: 'restart', keep: 3 },
      { type: 'done', text: 'Old' },
    ],
    'Old',
  );
  expect(none).toHaveLength(2);
  expect(textAfter([before('Old'), ...none])).toBe('Old');
});

test('a subscription continues the text of its task', async () => {
  const updates = await updatesOf(
    [
      { type: 'text', text: ' there' },
      { type: 'done', text: 'Hello there' },
    ],
    'Hello',
  );
  expect(updates[0]!.artifactUpdate.append).toBe(true);
  expect(textAfter([before('Hello'), ...updates])).toBe('Hello there');
});

test('a final text that is cut does not replace the whole one', async () => {
  const updates = await updatesOf([
    { type: 'text', text: 'long text' },
    { type: 'done', text: 'long', is_cut: true },
  ]);
  expect(textAfter(updates)).toBe('long text');
});

test('events of other turns and of the conversation are left out', async () => {
  const updates = await updatesOf([
    { type: 'text', text: 'other', turn_id: 'u' },
    { type: 'started', turn_id: undefined },
    { type: 'tool_call', id: 'c', name: 'look' },
    { type: 'done', text: 'mine' },
    { type: 'text', text: 'late' },
  ]);
  expect(textAfter(updates)).toBe('mine');
  expect(statesIn(updates)).toEqual(['COMPLETED']);
});

test.each([
  ['TURN_CANCELLED', 'CANCELED'],
  ['MODEL_UNAVAILABLE', 'FAILED'],
])('%s ends the task as %s', async (code, state) => {
  const updates = await updatesOf([{ type: 'error', code, message: 'why' }]);
  expect(statesIn(updates)).toEqual([state]);
});

test('a task works again when all questions are answered', async () => {
  const ask = (id: string): Json => ({ type: 'approval', id, kind: 'tool', name: 'pay', args: {} });
  const answer = (id: string): Json => ({ type: 'approval_answer', id, approve: true });
  const updates = await updatesOf([ask('1'), ask('2'), answer('1'), answer('2'), { type: 'done', text: '' }]);
  expect(statesIn(updates)).toEqual(['INPUT_REQUIRED', 'INPUT_REQUIRED', 'WORKING', 'COMPLETED']);
  expect(updates[1]!.statusUpdate.status.message.parts[1].data.approvals).toHaveLength(2);
});
