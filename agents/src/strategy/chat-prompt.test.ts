import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { defineFunction, functionFromJsonSchema } from '../tools/schema/completion-function.ts';
import { schemaOfList } from '../tools/schema/json-schema.ts';
import { ChatMessage } from './chat-message.ts';
import { ChatPrompt } from './chat-prompt.ts';

const solve = functionFromJsonSchema({
  name: 'solve_quadratic',
  parameters: [
    { name: 'a', type: 'float' },
    { name: 'b', type: 'float' },
    { name: 'c', type: 'float' },
  ],
});
const note = defineFunction({ name: 'note', parameters: z.object({ text: z.string() }) });

describe('ChatPrompt', () => {
  it('ST-2 keeps role and content in order, maps the role function to tool, and formats blocks for people', () => {
    const call = {
      id: 'c1',
      type: 'function' as const,
      function: { name: 'note', arguments: '{"text":"x"}' },
    };
    const prompt = new ChatPrompt({
      messages: [
        ChatMessage.system('Be short.'),
        ChatMessage.user('I need help with my math homework.'),
        { role: 'assistant', content: null, tool_calls: [call] },
        ChatMessage.of({ role: 'function', id: 'c1', content: 'done' }),
        ChatMessage.assistant('What topic?'),
      ],
      functions: [solve],
    });
    expect(prompt.raw()).toEqual([
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'I need help with my math homework.' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c1', content: 'done' },
      { role: 'assistant', content: 'What topic?' },
    ]);
    expect(prompt.toString()).toBe(
      [
        'SYSTEM: Be short.',
        'USER: I need help with my math homework.',
        'ASSISTANT: note({"text":"x"})',
        'TOOL: done',
        'ASSISTANT: What topic?',
        'FUNCTIONS:\n- solve_quadratic(a: number, b: number, c: number)',
      ].join('\n\n'),
    );
    expect(() => ChatMessage.of({ role: 'tool', content: 'x' })).toThrow(/needs the id/);
    expect(prompt.raw()).not.toBe(prompt.raw());
  });

  it('ST-3 builds the same wire form from zod and from the old list of properties', () => {
    const byZod = defineFunction({
      name: 'order',
      description: 'Orders',
      parameters: z.object({
        weight: z.number().min(1).max(5),
        kind: z.enum(['box', 'bag']).describe('How it is packed'),
        tags: z.array(z.string()).max(3).optional(),
        count: z.number().default(1),
      }),
    });
    const byList = functionFromJsonSchema({
      name: 'order',
      description: 'Orders',
      parameters: [
        { name: 'weight', type: 'float', minimum: 1, maximum: 5 },
        { name: 'kind', type: 'str', enum: ['box', 'bag'], description: 'How it is packed' },
        { name: 'tags', type: 'list', items: { type: 'str' }, required: false, ...{ maxItems: 3 } },
        { name: 'count', type: 'float', default: 1 },
      ],
    });
    expect(byZod.spec).toEqual(byList.spec);
    expect(byZod.spec).toEqual({
      type: 'function',
      function: {
        name: 'order',
        description: 'Orders',
        parameters: {
          type: 'object',
          properties: {
            weight: { type: 'number', minimum: 1, maximum: 5 },
            kind: { type: 'string', enum: ['box', 'bag'], description: 'How it is packed' },
            tags: { type: 'array', items: { type: 'string' }, maxItems: 3 },
            count: { type: 'number', default: 1 },
          },
          required: ['weight', 'kind'],
        },
      },
    });
    for (const fn of [byZod, byList]) {
      expect(fn.parse('{"weight":2,"kind":"bag"}')).toEqual({
        ok: true,
        value: { weight: 2, kind: 'bag', count: 1 },
      });
      expect(fn.parse('{"weight":9,"kind":"bag"}').ok).toBe(false);
      expect(fn.parse('{"weight":2,"kind":"tin"}').ok).toBe(false);
      expect(fn.parse('{"weight":2,"kind":"bag","tags":["a","b","c","d"]}').ok).toBe(false);
      expect(fn.parse('{"weight":2,"kind":"bag","colour":"red"}')).toMatchObject({
        ok: false,
        error: { code: 'invalid_args', issues: [{ path: 'colour' }] },
      });
    }
  });

  it('ST-3 refuses a definition that JSON Schema cannot express', () => {
    for (const type of [z.date(), z.map(z.string(), z.string()), z.bigint()]) {
      expect(() => defineFunction({ name: 'f', parameters: z.object({ type }) })).toThrow(
        /parameters of "f" cannot be sent to a model/,
      );
    }
    expect(() => functionFromJsonSchema({ name: 'f', parameters: [{ name: 'a', type: 'complex' }] })).toThrow(
      /parameters of "f" are not a JSON Schema/,
    );
    expect(() => defineFunction({ name: 'no spaces', parameters: z.object({}) })).toThrow(
      /not a valid function name/,
    );
  });

  it('ST-3 drops undeclared names from `required`', () => {
    const schema = { ...schemaOfList([{ name: 'product_id', type: 'string' }]), required: ['id'] };
    const fn = functionFromJsonSchema({ name: 'get_product_info', parameters: schema });
    expect(fn.schema.required).toBeUndefined();
    expect(fn.parse('{}').ok).toBe(true);
  });

  it('ST-4 writes a signature in one line', () => {
    expect(solve.signature()).toBe('solve_quadratic(a: number, b: number, c: number)');
    const rich = defineFunction({
      name: 'f',
      parameters: z.object({
        k: z.enum(['x', 'y']),
        l: z.array(z.enum(['p', 'q'])).optional(),
        m: z.unknown(),
      }),
    });
    expect(rich.signature()).toBe('f(k: "x" | "y", l?: ("p" | "q")[], m: any)');
  });

  it('ST-5 forces the only function or the named one, and keeps auto', () => {
    const messages = [ChatMessage.user('hi')];
    const forced = { type: 'function', function: { name: 'solve_quadratic' } };
    expect(new ChatPrompt({ messages, functions: [solve] }).choice).toEqual(forced);
    expect(new ChatPrompt({ messages, functions: [solve, note] }).choice).toBe('auto');
    expect(
      new ChatPrompt({ messages, functions: [solve, note], functionCall: 'solve_quadratic' }).choice,
    ).toEqual(forced);
    expect(new ChatPrompt({ messages, functions: [solve], functionCall: 'auto' }).choice).toBe('auto');
    expect(new ChatPrompt({ messages }).choice).toBeUndefined();
  });

  it('ST-5 refuses a choice that names no function', () => {
    const messages = [ChatMessage.user('hi')];
    const wrong = 'solve_cubic' as 'solve_quadratic';
    expect(() => new ChatPrompt({ messages, functions: [solve], functionCall: wrong })).toThrow(
      'The prompt has no function "solve_cubic"; its functions: solve_quadratic',
    );
    expect(() => new ChatPrompt({ messages, functions: [solve], defaultFunctionCall: wrong })).toThrow(
      /no function "solve_cubic"/,
    );
    expect(() => new ChatPrompt({ messages, functions: [solve, solve] })).toThrow(/Two functions/);
  });

  it('counts tokens of messages and definitions with the given counter', () => {
    const prompt = new ChatPrompt({ messages: [ChatMessage.user('12345'), ChatMessage.assistant('123')] });
    expect(prompt.tokens((message) => message.content?.length ?? 0)).toBe(8);
    const more = new ChatPrompt({ messages: [ChatMessage.user('12345')], functions: [note] });
    expect(more.tokens()).toBeGreaterThan(new ChatPrompt({ messages: [ChatMessage.user('12345')] }).tokens());
  });
});
