import type { AgentDescription } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { descriptionText, exampleCall, operationsOf } from './description-text.ts';

const SHOP = 'shop@fame.fabric';
const described = (...operations: AgentDescription['operations']): AgentDescription => ({
  address: SHOP,
  operations,
});
const withParams = (params: Record<string, unknown>): AgentDescription =>
  described({ name: 'op', params, streams: false });
/** The line of the only operation. */
const lineOf = (params: Record<string, unknown>): string | undefined =>
  descriptionText(SHOP, withParams(params)).split('\n')[2];

describe('D9: the text of a description', () => {
  test('lists operations with their parameters, and a command to call the first', () => {
    const order = {
      type: 'object',
      properties: {
        item: { type: 'string' },
        count: { type: 'integer', default: 1 },
        size: { enum: ['small', 'large'] },
        note: { anyOf: [{ type: 'string' }, { type: 'null' }] },
        tags: { type: 'array', items: { type: 'string' } },
      },
      required: ['item', 'size'],
    };
    const text = descriptionText(SHOP, {
      ...described(
        { name: 'order', description: 'Places an order.', params: order, streams: false },
        { name: 'watch', params: { type: 'object', properties: {} }, streams: true, immediate: true },
      ),
      description: 'Sells tea.',
      tasks: true,
    });
    expect(text).toBe(`shop@fame.fabric: Sells tea.

order(item: string, count: integer = 1, size: "small" | "large", note?: string | null, tags?: string[])
    Places an order.
watch()  [stream]
It runs tasks: tasks/send, tasks/get, tasks/cancel and the other task methods.

For example: npx fame-fabric call shop@fame.fabric order '{"item":"text","size":"small"}'
`);
  });

  test('shows the command that talks to an agent with conversations', () => {
    const operations = ['start_task', 'run_turn'].map((name) => ({ name, params: {}, streams: false }));
    const text = descriptionText(SHOP, described(...operations));
    expect(text).toMatch(/\n\nTo talk to it: npx fame-fabric chat shop@fame\.fabric\n$/);
  });

  test('puts the choices of an item of a list in parentheses', () => {
    const items = { enum: ['a', 'b'] };
    expect(lineOf({ properties: { x: { type: 'array', items } }, required: ['x'] })).toBe(
      'op(x: ("a" | "b")[])',
    );
  });

  test('shows parameters that have positions only', () => {
    const params = { type: 'array', prefixItems: [{ type: 'number' }, { type: 'string' }], minItems: 1 };
    expect(lineOf(params)).toBe('op(number, string?)');
    expect(exampleCall(SHOP, withParams(params).operations[0]!)).toBe(
      "npx fame-fabric call shop@fame.fabric op '[1]'",
    );
  });

  test('marks streams, and reports omitted schemas and operations', () => {
    const text = descriptionText(SHOP, {
      ...described({ name: 'big', params: { type: 'object' }, streams: true, truncated: true }),
      truncated: true,
    });
    expect(text).toContain('big()  [stream, schema too large to show]\n');
    expect(text).toContain('It has more operations, which did not fit into its answer.\n');
    expect(text).toContain('npx fame-fabric call shop@fame.fabric big --stream\n');
    expect(descriptionText(SHOP, described())).toContain('It has no operations.');
  });

  test.each([
    [{ properties: { a: 7 } }, 'op(a?: any)'],
    [{ properties: { a: { type: ['string', 'null'] } }, required: 'a' }, 'op(a?: string | null)'],
    [{ properties: 3 }, 'op()'],
    [{ properties: { a: { const: 'x' } }, required: ['a'] }, 'op(a: "x")'],
  ])('reads the faulty or unusual schema %j', (params, line) => {
    expect(lineOf(params)).toBe(line);
  });

  test('bounds a schema that is nested deeply, and one with thousands of choices', () => {
    let nested: Record<string, unknown> = {};
    for (let i = 0; i < 20_000; i++) nested = { type: 'array', items: nested };
    expect(lineOf({ properties: { a: nested } })).toBe(`op(a?: any${'[]'.repeat(9)})`);
    const choices = Array.from({ length: 10_000 }, (_, i) => `value-${i}`);
    expect(lineOf({ properties: { a: { enum: choices } } })!.length).toBeLessThan(100);
  });

  test('only a list of operations counts as a description', () => {
    expect(operationsOf({ model: 'offline' })).toBeUndefined();
    expect(operationsOf('text')).toBeUndefined();
    expect(operationsOf({ operations: [null, 3, { name: 4 }] })).toEqual([]);
  });
});
