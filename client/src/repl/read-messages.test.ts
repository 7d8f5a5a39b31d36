import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import type { ConversationEvent } from '../turn-event.ts';
import { readMessages } from './read-messages.ts';

/** Reads events that an agent serves in pages of two. */
async function read(events: object[]) {
  const all = events.map((event, i) => ({ seq: i + 1, at: '', turn_id: 't', ...event }) as ConversationEvent);
  const requests: number[] = [];
  const messages = await readMessages(
    {
      readEvents: async (_, { after = 0 } = {}) => {
        requests.push(after);
        const page = all.slice(after, after + 2);
        return { events: page, next: after + page.length };
      },
    },
    'c',
  );
  return { messages, requests };
}

test('turns that were stopped, failed or not finished are marked, over several pages', async () => {
  const { messages, requests } = await read([
    {
      type: 'started',
      messages: [
        { role: 'user', content: 'Earlier' },
        { role: 'tool', content: 'x' },
      ],
    },
    { type: 'turn', user_message: 'one' },
    { type: 'text', text: 'Half' },
    { type: 'error', code: 'TURN_CANCELLED', message: 'Cancelled', text: 'Half' },
    { type: 'turn', user_message: 'two' },
    { type: 'error', code: 'MODEL_TIMEOUT', message: 'late', text: '' },
    { type: 'turn', user_message: 'three' },
    { type: 'text', text: 'Three is' },
    { type: 'restart', keep: 5 },
    { type: 'text', text: ' not two.' },
    { type: 'done', text: 'Three not two.', finish: 'length' },
    { type: 'turn', user_message: 'four' },
    { type: 'done', text: '', ignored: 'attack' },
    { type: 'turn', user_message: 'five' },
    { type: 'tool_call', id: 'a', name: 'clock' },
  ]);
  expect(messages).toEqual([
    { role: 'user', text: 'Earlier' },
    { role: 'user', text: 'one' },
    { role: 'assistant', text: 'Half', note: '(stopped)' },
    { role: 'user', text: 'two' },
    { role: 'assistant', text: '', note: '(failed: MODEL_TIMEOUT)' },
    { role: 'user', text: 'three' },
    {
      role: 'assistant',
      text: 'Three not two.',
      note: '(cut off at the limit of tokens; FAME_MAX_ANSWER_TOKENS sets it)',
    },
    { role: 'user', text: 'four' },
    { role: 'assistant', text: '', note: '(no reply: attack)' },
    { role: 'user', text: 'five' },
    { role: 'assistant', text: '', note: '(not finished)' },
  ]);
  expect(requests).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 15]);
});

test('an agent that cannot read its events has no such messages; other errors are thrown', async () => {
  const fails = (code: 'METHOD_NOT_FOUND' | 'CONVERSATION_UNKNOWN') => ({
    readEvents: async () => {
      throw new FabricError(code, 'no');
    },
  });
  expect(await readMessages(fails('METHOD_NOT_FOUND'), 'c')).toBeUndefined();
  await expect(readMessages(fails('CONVERSATION_UNKNOWN'), 'c')).rejects.toMatchObject({
    code: 'CONVERSATION_UNKNOWN',
  });
});
