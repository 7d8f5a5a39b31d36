import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AssistantMessage, ModelMessage } from '../model/model.ts';
import { wireMessages } from '../model/openai/message-form.ts';
import { checkTranscript } from '../testing.ts';
import { History, INTERRUPTED_MARK, OPENING_REQUEST, transcriptFault } from './history.ts';

const say = (history: History, user: string, answer: string): void => {
  const draft = history.begin(user);
  draft.assistant({ role: 'assistant', content: answer });
  draft.commit();
};
const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }];
const calls = (...ids: string[]): AssistantMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'look', arguments: '{"x": 1 }' } })),
});

describe('the window', () => {
  test('HI-1: after 25 plain turns it holds the system message and 20 messages, and no more are kept', () => {
    const history = new History({ system: 'Be brief.', maxTurns: 10 });
    for (let i = 1; i <= 25; i++) say(history, `q${i}`, `a${i}`);
    const window = history.window();
    expect(window).toHaveLength(21);
    expect(window[0]).toEqual({ role: 'system', content: 'Be brief.' });
    expect(window[1]).toEqual({ role: 'user', content: 'q16' });
    expect(window.at(-1)).toEqual({ role: 'assistant', content: 'a25' });
    expect(history.turns.flat()).toHaveLength(20);
  });

  test('HI-2: a turn with tool calls counts as one, and its calls stay with their results', () => {
    const history = new History({ maxTurns: 2 });
    say(history, 'first', 'gone');
    const draft = history.begin('look twice');
    draft.assistant(calls('c1', 'c2'));
    draft.tool('c1', '1');
    draft.tool('c2', '2');
    draft.assistant({ role: 'assistant', content: 'seen' });
    draft.commit();
    say(history, 'last', 'bye');
    expect(history.window().map((message) => message.role)).toEqual([
      'user',
      'assistant',
      'tool',
      'tool',
      'assistant',
      'user',
      'assistant',
    ]);
  });

  test('leaves out the oldest whole turns under a token limit, never the system message', () => {
    const history = new History({ system: 's', maxTokens: 20, count: (message) => message.content!.length });
    say(history, 'aaaaa', 'bbbbb');
    say(history, 'ccccc', 'ddddd');
    say(history, 'eeeee', 'fffff');
    expect(history.window().map((message) => message.content)).toEqual([
      's',
      'ccccc',
      'ddddd',
      'eeeee',
      'fffff',
    ]);
  });

  test('is empty with a limit of zero turns', () => {
    const history = new History({ system: 's', maxTurns: 0 });
    say(history, 'q', 'a');
    expect(history.window()).toEqual([{ role: 'system', content: 's' }]);
  });

  test('asks the model to open the conversation when the user says nothing', () => {
    expect(new History().begin('  ').request()).toEqual([{ role: 'user', content: OPENING_REQUEST }]);
  });
});

describe('a turn', () => {
  test('enters the history with its commit, once', () => {
    const history = new History();
    const draft = history.begin('q');
    draft.assistant({ role: 'assistant', content: 'a' });
    expect(history.window()).toEqual([]);
    draft.commit();
    draft.commit();
    expect(history.turns).toHaveLength(1);
  });

  test('HI-3: a turn that failed before any tool ran leaves the history unchanged', () => {
    const history = new History();
    say(history, 'q', 'a');
    const before = structuredClone(history.window());
    history.begin('fails').interrupt('partial', new Set());
    expect(history.window()).toEqual(before);
  });

  test('HI-3: a turn that failed after a tool ran is kept, with real and aborted outcomes and its text marked', () => {
    const history = new History();
    const draft = history.begin('do both');
    draft.assistant(calls('c1', 'c2'));
    draft.tool('c2', '"done"');
    draft.interrupt('I have', new Set(['c1', 'c2']));
    const [user, assistant, first, second, last] = history.window();
    expect(user).toEqual({ role: 'user', content: 'do both' });
    expect(assistant).toEqual(calls('c1', 'c2'));
    expect(first).toMatchObject({ role: 'tool', tool_call_id: 'c1' });
    expect(JSON.parse(first!.content!)).toMatchObject({ error: { code: 'aborted' } });
    expect(second).toEqual({ role: 'tool', tool_call_id: 'c2', content: '"done"' });
    expect(last).toEqual({ role: 'assistant', content: `I have ${INTERRUPTED_MARK}` });
    expect(checkTranscript({ messages: history.window(), tools })).toEqual([]);
  });

  test('HI-3: `discard` and `keep` force one behaviour', () => {
    const discarding = new History();
    const draft = discarding.begin('q');
    draft.assistant(calls('c1'));
    draft.tool('c1', '1');
    draft.interrupt('', new Set(['c1']), 'discard');
    expect(discarding.window()).toEqual([]);
    const keeping = new History();
    keeping.begin('q').interrupt('half', new Set(), 'keep');
    expect(keeping.window()).toEqual([
      { role: 'user', content: 'q' },
      { role: 'assistant', content: `half ${INTERRUPTED_MARK}` },
    ]);
  });

  test('HI-6: the arguments of a call are kept as the model wrote them', () => {
    const history = new History();
    const draft = history.begin('q');
    draft.assistant(calls('c1'));
    draft.tool('c1', '1');
    draft.assistant({ role: 'assistant', content: 'a' });
    draft.commit();
    const kept = history.window()[1] as AssistantMessage;
    expect(kept.tool_calls![0]!.function.arguments).toBe('{"x": 1 }');
  });

  test('is refused if no model server would accept it', () => {
    const history = new History();
    const draft = history.begin('q');
    draft.assistant(calls('c1'));
    expect(() => draft.commit()).toThrow('c1 is not answered');
    expect(history.window()).toEqual([]);
  });
});

test('HI: the OpenAI API accepts the window after any completed and failed turns', () => {
  // A turn: rounds of 0..3 calls each with how many of them were answered, and whether it completes.
  const round = fc.record({
    calls: fc.integer({ min: 1, max: 3 }),
    answered: fc.integer({ min: 0, max: 3 }),
  });
  const turn = fc.record({
    text: fc.string(),
    rounds: fc.array(round, { maxLength: 4 }),
    fails: fc.boolean(),
    rule: fc.constantFrom('auto', 'discard', 'keep'),
  });
  const setup = fc.record({
    turns: fc.array(turn, { maxLength: 20 }),
    maxTurns: fc.integer({ min: 0, max: 6 }),
    maxTokens: fc.option(fc.integer({ min: 1, max: 400 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(setup, ({ turns, maxTurns, maxTokens }) => {
      const history = new History({ system: 's', maxTurns, ...(maxTokens ? { maxTokens } : {}) });
      let ids = 0;
      for (const { text, rounds, fails, rule } of turns) {
        const draft = history.begin(text);
        const started = new Set<string>();
        for (const [i, { calls: count, answered }] of rounds.entries()) {
          const made = Array.from({ length: count }, () => `c${ids++}`);
          draft.assistant(calls(...made));
          // Only the last round of a failing turn may have open calls.
          const open = fails && i === rounds.length - 1 ? Math.min(answered, count) : count;
          for (const id of made) started.add(id);
          for (const id of made.slice(0, open)) draft.tool(id, '{}');
          if (open < count) break;
        }
        expect(faultOfRequest(draft.request(), fails)).toEqual([]);
        if (fails) draft.interrupt('some text', started, rule as 'auto');
        else {
          draft.assistant({ role: 'assistant', content: text });
          draft.commit();
        }
        const window = history.window();
        expect(checkTranscript({ messages: wireMessages(window, 'm'), tools })).toEqual([]);
        expect(window[0]!.role).toBe('system');
        expect(window.length === 1 || window[1]!.role === 'user').toBe(true);
        expect(history.turns.length).toBeLessThanOrEqual(maxTurns);
        for (const kept of history.turns) expect(transcriptFault(kept)).toBeUndefined();
      }
    }),
    { numRuns: 300 },
  );
});

// A failed turn may have open calls here. It is never sent in that form.
const faultOfRequest = (messages: ModelMessage[], mayBeOpen: boolean): unknown[] =>
  mayBeOpen ? [] : checkTranscript({ messages: wireMessages(messages, 'm'), tools });
