import type { ConversationEvent } from '@fame-fabric/client';
import { expect, test } from 'vitest';
import { Messages } from './messages.ts';

let seq = 0;
const at = '2026-11-29T12:00:00.000Z';
/** An event of the turn `t`, after the previous one. */
const event = (fields: Record<string, unknown>): ConversationEvent =>
  ({ seq: ++seq, at, turn_id: 't', ...fields }) as unknown as ConversationEvent;
const turn = (user_message: string, turn_id = 't') => event({ type: 'turn', user_message, turn_id });
const text = (words: string) => event({ type: 'text', text: words });

function messagesOf(...events: ConversationEvent[]): Messages {
  const messages = new Messages();
  for (const one of events) messages.apply(one);
  return messages;
}
const answerOf = (messages: Messages) => messages.all.findLast((message) => message.role === 'assistant')!;

test('a turn becomes a message of the user and an answer that grows', () => {
  const messages = messagesOf(turn('Hello'), text('Hi '), text('there'));
  expect(messages.all).toMatchObject([
    { role: 'user', text: 'Hello', state: 'sent', turnId: 't' },
    { role: 'assistant', text: 'Hi there', state: 'running', parts: [{ type: 'text', text: 'Hi there' }] },
  ]);
  messages.apply(event({ type: 'done', text: 'Hi there' }));
  expect(answerOf(messages)).toMatchObject({ state: 'completed', text: 'Hi there' });
  expect(messages.cursor).toBe(seq);
});

test('an answer that was not streamed has the text of its last event', () => {
  expect(answerOf(messagesOf(turn('Hello'), event({ type: 'done', text: 'Hi' })))).toMatchObject({
    text: 'Hi',
    parts: [{ type: 'text', text: 'Hi' }],
  });
});

test('a restart takes back the end of the text, and leaves tools where they are', () => {
  const call = { id: 'a', name: 'clock' };
  const messages = messagesOf(
    turn('x'),
    text('One '),
    event({ type: 'tool_call', ...call, args: {} }),
    event({ type: 'tool_result', ...call, ok: true }),
    text('two three'),
    event({ type: 'restart', keep: 8 }),
    text('2'),
  );
  expect(answerOf(messages).parts).toMatchObject([
    { text: 'One ' },
    { type: 'tool', id: 'a', name: 'clock', args: {}, state: 'done' },
    { text: 'two 2' },
  ]);
  expect(answerOf(messages).text).toBe('One two 2');
});

test('a call waits for its approval, then runs or is refused', () => {
  const ask = (id: string) =>
    event({ type: 'approval', kind: 'tool', id, name: 'cancel', args: { order: id } });
  const messages = messagesOf(turn('x'), ask('a'), ask('b'));
  expect(answerOf(messages)).toMatchObject({
    state: 'waiting',
    parts: [{ state: 'waiting' }, { state: 'waiting' }],
  });
  messages.apply(event({ type: 'approval_answer', id: 'a', approve: true }));
  expect(answerOf(messages).state).toBe('waiting');
  messages.apply(event({ type: 'approval_answer', id: 'b', approve: false }));
  messages.apply(event({ type: 'tool_call', id: 'a', name: 'cancel' }));
  messages.apply(event({ type: 'tool_result', id: 'b', name: 'cancel', ok: false }));
  expect(answerOf(messages)).toMatchObject({
    state: 'running',
    parts: [
      { id: 'a', args: { order: 'a' }, state: 'running' },
      { id: 'b', args: { order: 'b' }, state: 'refused' },
    ],
  });
  messages.apply(event({ type: 'tool_result', id: 'a', name: 'cancel', ok: false }));
  expect(answerOf(messages).parts[0]).toMatchObject({ state: 'failed' });
});

test('a used-up budget waits for an approval', () => {
  const messages = messagesOf(
    turn('x'),
    event({ type: 'approval', kind: 'budget', id: 'm', name: 'budget' }),
  );
  expect(answerOf(messages)).toMatchObject({
    state: 'waiting',
    parts: [{ type: 'budget', state: 'waiting' }],
  });
  messages.apply(event({ type: 'approval_answer', id: 'm', approve: true }));
  expect(answerOf(messages)).toMatchObject({ state: 'running', parts: [{ state: 'approved' }] });
});

test.each([
  ['TURN_CANCELLED', 'cancelled'],
  ['MODEL_AUTH', 'failed'],
])('after the error %s the answer is %s, and keeps its text', (code, state) => {
  const failed = messagesOf(turn('x'), text('so far'), event({ type: 'error', code, message: 'why' }));
  expect(answerOf(failed)).toMatchObject({ state, text: 'so far', error: { code, message: 'why' } });
});

test('messages of this page follow those that the agent has accepted, until it accepts them', () => {
  const messages = messagesOf(turn('first', 'a'));
  messages.send('mine', 'second');
  messages.apply(turn('of another page', 'b'));
  const texts = () => messages.all.filter(({ role }) => role === 'user').map(({ text: words }) => words);
  expect(texts()).toEqual(['first', 'of another page', 'second']);
  expect(messages.unsent).toMatchObject([{ turnId: 'mine', state: 'sending' }]);
  messages.apply(turn('second', 'mine'));
  messages.apply(turn('third', 'c'));
  expect(texts()).toEqual(['first', 'of another page', 'second', 'third']);
  expect(messages.unsent).toEqual([]);
});

test('a message that the agent refused keeps the reason, until it is removed', () => {
  const messages = messagesOf();
  messages.send('mine', 'x');
  messages.fail('mine', { code: 'PARAMS_INVALID', message: 'too long' });
  expect(messages.all).toMatchObject([{ state: 'failed', error: { code: 'PARAMS_INVALID' } }]);
  expect(messages.unsent).toEqual([]);
  messages.remove('mine');
  expect(messages.all).toEqual([]);
});

test('the messages that a conversation began with come first, and its end is known', () => {
  const start = [
    { role: 'user', content: 'My name is Ada.' },
    { role: 'assistant', content: 'Hello, Ada.' },
    { role: 'assistant', content: null },
  ];
  const messages = messagesOf(event({ type: 'started', messages: start }), turn('Hi'));
  expect(messages.all.map(({ role, text: words }) => [role, words])).toEqual([
    ['user', 'My name is Ada.'],
    ['assistant', 'Hello, Ada.'],
    ['user', 'Hi'],
    ['assistant', ''],
  ]);
  messages.apply(event({ type: 'ended', state: 'completed' }));
  expect(messages.hasEnded).toBe(true);
});

test('a turn that is sent again begins again', () => {
  const messages = messagesOf(
    turn('x'),
    text('old'),
    event({ type: 'restart', keep: 0 }),
    turn('x'),
    text('new'),
  );
  expect(messages.all).toHaveLength(2);
  expect(answerOf(messages).text).toBe('new');
});

test('unknown events and events of unknown turns change nothing', () => {
  const messages = messagesOf(turn('x'), text('a'));
  const before = messages.all;
  messages.apply(event({ type: 'text', text: 'b', turn_id: 'other' }));
  messages.apply(event({ type: 'of_a_later_version' }));
  expect(messages.all).toEqual(before);
});

test('a change replaces its message and no other', () => {
  const messages = messagesOf(turn('x', 'a'), turn('y', 'b'));
  const before = messages.all;
  messages.apply(event({ type: 'text', text: 'z', turn_id: 'b' }));
  expect(messages.all.map((message, index) => message === before[index])).toEqual([true, true, true, false]);
});

test('the oldest turns are left out after 500', () => {
  const messages = messagesOf(...Array.from({ length: 502 }, (_, index) => turn(String(index), `t${index}`)));
  expect(messages.all).toHaveLength(1_000);
  expect(messages.all[0]).toMatchObject({ text: '2' });
});
