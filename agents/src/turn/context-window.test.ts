import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelMessage } from '../model/model.ts';
import { ContextWindow, type Pin } from './context-window.ts';

/** Every message counts as many tokens as its content is long. */
const count = (message: ModelMessage): number => message.content?.length ?? 1;
const user = (content: string): ModelMessage => ({ role: 'user', content });
const assistant = (content: string): ModelMessage => ({ role: 'assistant', content });
const system = (content: string): ModelMessage => ({ role: 'system', content });
const calls = (...ids: string[]): ModelMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } })),
});
const result = (id: string, content: string): ModelMessage => ({ role: 'tool', tool_call_id: id, content });
const texts = (window: ContextWindow): string =>
  window
    .messages()
    .map((message) => message.content ?? '*')
    .join(' ');

describe('ContextWindow', () => {
  it('AG-42 removes the oldest messages, keeps an exact fit and the system message', () => {
    const window = new ContextWindow({ maxTokens: 10, count });
    expect(window.append(system('SS'))).toBe(true);
    for (const letter of ['aa', 'bb', 'cc', 'dd']) window.append(user(letter));
    expect(texts(window)).toBe('SS aa bb cc dd');
    expect(window.tokens).toBe(10);
    expect(window.fill).toBe(1);
    window.append(user('e'));
    expect(texts(window)).toBe('SS bb cc dd e');
    window.append(user('ffffffff'));
    expect(texts(window)).toBe('SS ffffffff');
    expect(window.append(user('ggggggggg'))).toBe(false);
    expect(texts(window)).toBe('SS ffffffff');
  });

  it('AG-42 keeps a call and its results together, and never sends one without the other', () => {
    const window = new ContextWindow({ maxTokens: 10, count });
    window.append(user('aa'));
    window.append(calls('1', '2'));
    expect(texts(window)).toBe('aa');
    window.append(result('1', 'rr'));
    expect(texts(window)).toBe('aa');
    window.append(result('2', 'ss'));
    expect(texts(window)).toBe('aa * rr ss');
    window.append(assistant('bbb'));
    expect(texts(window)).toBe('aa * rr ss bbb');
    window.append(user('c'));
    expect(texts(window)).toBe('* rr ss bbb c');
    window.append(user('dd'));
    expect(texts(window)).toBe('bbb c dd');
    expect(window.append(result('1', 'late'))).toBe(false);
  });

  it('AG-43 keeps pinned pieces at the start, the end and fixed places', () => {
    const window = new ContextWindow({ maxTokens: 100, count });
    window.append(system('SYS'));
    for (const letter of 'abcd') window.append(user(letter));
    const pins: [string, Pin][] = [
      ['S', { at: 'start' }],
      ['E', { at: 'end' }],
      ['F1', { at: 'fixed', index: 1 }],
      ['F-2', { at: 'fixed', index: -2 }],
      ['F50%', { at: 'fixed', percent: 50 }],
    ];
    for (const [text, pin] of pins) expect(window.pin(user(text), pin)).toBe(true);
    expect(texts(window)).toBe('SYS S a F1 b F50% c F-2 d E');
    for (const letter of 'efghij') window.append(user(letter.repeat(14)));
    expect(window.tokens).toBeLessThanOrEqual(100);
    const now = texts(window).split(' ');
    expect(now.slice(0, 2)).toEqual(['SYS', 'S']);
    expect(now.at(-1)).toBe('E');
    expect(now[3]).toBe('F1');
    expect(now.at(-3)).toBe('F-2');
    expect(now).toContain('F50%');
    expect(now).not.toContain('a');
  });

  it('AG-43 never puts a fixed piece between a call and its result', () => {
    const window = new ContextWindow({ maxTokens: 100, count });
    window.append(calls('1'));
    window.append(result('1', 'r'));
    window.pin(user('F'), { at: 'fixed', index: 1 });
    window.pin(user('H'), { at: 'fixed', percent: 50 });
    expect(texts(window)).toMatch(/\* r/);
  });

  it('AG-43 moves a flowing piece to the end instead of removing it', () => {
    const window = new ContextWindow({ maxTokens: 6, count });
    window.append(user('a'));
    window.pin(user('F'), { at: 'flowing' });
    for (const letter of 'bcde') window.append(user(letter));
    expect(texts(window)).toBe('a F b c d e');
    window.append(user('g'));
    expect(texts(window)).toBe('F b c d e g');
    window.append(user('h'));
    expect(texts(window)).toBe('c d e g h F');
    for (const letter of 'ijklm') window.append(user(letter));
    expect(texts(window)).toBe('F i j k l m');
    window.append(user('n'));
    expect(texts(window)).toBe('j k l m n F');
  });

  it('AG-43 refuses a message that cannot fit beside the pinned pieces', () => {
    const window = new ContextWindow({ maxTokens: 6, count });
    expect(window.pin(user('SSS'), { at: 'start' })).toBe(true);
    expect(window.pin(user('FFFF'), { at: 'flowing' })).toBe(false);
    expect(window.pin(user('FF'), { at: 'flowing' })).toBe(true);
    expect(window.append(user('aa'))).toBe(false);
    expect(window.append(user('a'))).toBe(true);
    expect(texts(window)).toBe('SSS FF a');
  });

  it('AG-42 stays within its limit and in a valid order for any messages', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('say' as const), size: fc.integer({ min: 1, max: 12 }) }),
      fc.record({
        do: fc.constant('call' as const),
        results: fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 3 }),
      }),
      fc.record({
        do: fc.constant('pin' as const),
        pin: fc.constantFrom<Pin>(
          { at: 'start' },
          { at: 'end' },
          { at: 'flowing' },
          { at: 'fixed', index: 2 },
          { at: 'fixed', percent: 30 },
        ),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 4, max: 40 }), (steps, maxTokens) => {
        const window = new ContextWindow({ maxTokens, count });
        let ids = 0;
        for (const one of steps) {
          if (one.do === 'say') window.append(user('u'.repeat(one.size)));
          else if (one.do === 'pin') window.pin(user('p'), one.pin);
          else {
            const results = one.results.map((size) => [`${ids++}`, size] as const);
            window.append(calls(...results.map(([id]) => id)));
            for (const [id, size] of results) window.append(result(id, 'r'.repeat(size)));
          }
          const messages = window.messages();
          expect(messages.reduce((sum, message) => sum + count(message), 0)).toBeLessThanOrEqual(maxTokens);
          let open: string[] = [];
          for (const message of messages) {
            if (message.role === 'tool') {
              expect(open).toContain(message.tool_call_id);
              open = open.filter((id) => id !== message.tool_call_id);
            } else {
              expect(open).toEqual([]);
              open = message.role === 'assistant' ? (message.tool_calls ?? []).map(({ id }) => id) : [];
            }
          }
          expect(open).toEqual([]);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
