import { describe, expect, test } from 'vitest';
import { runnerKit } from '../testing/runner-kit.ts';
import { callTools } from '../testing/script.ts';
import { scriptedModel } from '../testing/scripted-model.ts';
import { callId, questionOf, type RecordedStep } from './steps.ts';
import { TurnText } from './turn-text.ts';

const user = { role: 'user' as const, content: 'hi' };
const step = (text: string, more: Partial<RecordedStep> = {}): RecordedStep => ({
  message: { role: 'assistant', content: text },
  finish: 'stop',
  model: 'scripted',
  usage: undefined,
  trailing: undefined,
  question: questionOf('a', [user]),
  textEnd: text.length,
  calls: new Map(),
  ...more,
});
const finished = (content: string) => ({
  index: 0,
  result: { ok: true, content },
  text: '',
});
const calling = {
  role: 'assistant' as const,
  content: 'One.',
  tool_calls: [{ id: 'x', type: 'function' as const, function: { name: 'f', arguments: '{}' } }],
};

describe('a record that does not match', () => {
  const record = [
    step('One.', { message: calling, calls: new Map([['x', finished('seen')]]) }),
    step('One.\nTwo.', { question: questionOf('a', [user, calling]) }),
  ];

  test('is dropped from the step with another asker on', async () => {
    const model = scriptedModel(['Other.']);
    const { turn, seen } = runnerKit({ recorded: [step('One.')], text: 'One.' });
    const { message } = await turn.ask(model, { messages: [user] }, { scope: 'b' });
    expect(message.content).toBe('Other.');
    expect(seen).toEqual(['dropped from 1, keep 0', 'model_called 1', 'model_replied 1']);
  });

  test('is dropped after a result that the runner does not request', async () => {
    const model = scriptedModel(['Other.']);
    const { turn, seen } = runnerKit({ recorded: record, text: 'One.\nTwo.' });
    await turn.ask(model, { messages: [user] }, { scope: 'a' });
    const own = { role: 'tool' as const, tool_call_id: 'x', content: 'not looked up' };
    await turn.ask(model, { messages: [user, calling, own] }, { scope: 'a' });
    expect(seen).toEqual(['dropped from 2, keep 4', 'model_called 2', 'model_replied 2']);
  });

  test('is dropped from the end of the turn on', async () => {
    const { turn, seen, finish } = runnerKit({ recorded: record, text: 'One.\nTwo.' });
    await turn.ask(scriptedModel([]), { messages: [user] }, { scope: 'a' });
    const [call] = calling.tool_calls;
    await turn.makeCall({
      call: { ok: true, index: 0, id: call!.id, name: 'f', args: {}, rawArguments: '{}' },
      willRun: true,
      execute: () => Promise.reject(new Error('it has a result')),
    });
    await finish();
    expect(seen).toEqual(['dropped from 2, keep 4']);
    expect(turn.text).toBe('One.');
  });

  test('emits the text of the runner after the kept text again', async () => {
    const { turn, finish } = runnerKit({ recorded: record, text: 'One.\nSo.\nTwo.' });
    await turn.ask(scriptedModel([]), { messages: [user] }, { scope: 'a' });
    await turn.emitText('So.', { from: 'runner', speaker: 'f' });
    expect(turn.text).toBe('One.\nSo.\nTwo.');
    await finish();
    expect(turn.text).toBe('One.\nSo.');
  });
});

test('a date in a system message, or another window, does not change the question', () => {
  const own = [user, calling];
  const early = questionOf('a', [{ role: 'system', content: 'Monday' }, ...own]);
  const late = questionOf('a', [{ role: 'system', content: 'Tuesday' }, user, step('x').message, ...own]);
  expect(late).toEqual(early);
  expect(questionOf('a', [user])).not.toEqual(early);
});

test('call ids have nine letters and digits and depend only on the turn and the position', async () => {
  const ids = [callId('t', 1, 0), callId('t', 1, 1), callId('t', 2, 0), callId('u', 1, 0)];
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9]{9}$/);
  expect(new Set(ids).size).toBe(4);
  const { turn } = runnerKit();
  const calls = ['a', 'a'].map((id) => ({ name: 'f', id, arguments: {} }));
  const { message } = await turn.ask(scriptedModel([callTools(calls)]), { messages: [user] });
  expect(message.tool_calls!.map(({ id }) => id)).toEqual(ids.slice(0, 2));
});

test('pieces of text keep their sources, and a line break belongs to no tool', () => {
  const text = new TurnText({ isReplaying: false });
  const pieces = [
    text.add('Looking.', { from: 'model', speaker: 'reply 1' }),
    text.add('half', { from: 'tool', step: 1, index: 0, speaker: 'f says' }),
    text.add('Done', { from: 'model', speaker: 'reply 2' }),
  ];
  expect(pieces.flat().map(({ text: piece, offset, source: { from } }) => [piece, offset, from])).toEqual([
    ['Looking.', 0, 'model'],
    ['\n', 8, 'runner'],
    ['half', 9, 'tool'],
    ['\n', 13, 'model'],
    ['Done', 14, 'model'],
  ]);
});
