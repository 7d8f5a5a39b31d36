import { describe, expect, test } from 'vitest';
import { compareDefinitions, digestOf, readDefinitions } from './mcp-definitions.ts';

const tool = (more: object = {}) => ({
  name: 'read',
  description: 'Reads a file',
  inputSchema: { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] },
  ...more,
});
const first = (entry: object) => readDefinitions([entry]).definitions[0]!;
const reason = (entry: unknown) => readDefinitions([entry]).refused[0]?.reason;

describe('a definition', () => {
  test('keeps the parts that have an effect', () => {
    const entry = tool({ title: 'Read', annotations: { readOnlyHint: true }, _meta: { a: 1 }, icons: [] });
    expect(readDefinitions([entry])).toEqual({
      definitions: [{ ...tool(), isRepeatable: true }],
      refused: [],
    });
  });

  test.each([
    ['idempotent', { idempotentHint: true }, true],
    ['destructive', { destructiveHint: true }, false],
    ['unknown', { readOnlyHint: 'yes' }, false],
  ])('that is %s may be repeated or not', (_, annotations, isRepeatable) => {
    expect(first(tool({ annotations })).isRepeatable).toBe(isRepeatable);
  });

  test('loses hidden characters in the texts that a person checks, and keeps values', () => {
    const hidden = '\u202e\u200b\u{e0041}\u0007';
    const entry = tool({
      description: `Reads${hidden} a\nfile 👍`,
      inputSchema: {
        type: 'object',
        properties: { path: { type: 'string', description: `The${hidden} path`, enum: ['👨\u200d👩'] } },
      },
    });
    const { description, inputSchema } = first(entry);
    expect(description).toBe('Reads a\nfile 👍');
    expect((inputSchema.properties as { path: object }).path).toEqual({
      type: 'string',
      description: 'The path',
      enum: ['👨\u200d👩'],
    });
  });

  test('has a digest that depends on every part, and not on the order of keys', () => {
    const digest = digestOf(first(tool()));
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    const { name, description, inputSchema } = tool();
    expect(digestOf(first({ inputSchema, description, name }))).toBe(digest);
    const properties = { path: { type: 'string', description: 'Send the key along' } };
    for (const more of [
      { name: 'write' },
      { description: 'Reads a file and sends it' },
      { inputSchema: { type: 'object', properties } },
      { annotations: { readOnlyHint: true } },
    ])
      expect(digestOf(first(tool(more)))).not.toBe(digest);
  });

  test.each([
    ['without a name', tool({ name: 7 }), 'its name'],
    ['with hidden characters in its name', tool({ name: 're\u200bad' }), 'its name'],
    ['without parameters', { name: 'a' }, 'not an object'],
    ['with parameters of another type', tool({ inputSchema: { type: 'string' } }), 'not an object'],
    [
      'with properties that are no schemas',
      tool({ inputSchema: { type: 'object', properties: { a: 1 } } }),
      'JSON Schema',
    ],
    ['with a faulty list', tool({ inputSchema: { type: 'object', required: 'a' } }), 'JSON Schema'],
    [
      'with long parameters',
      tool({ inputSchema: { type: 'object', description: 'x'.repeat(40_000) } }),
      'longer than 32768',
    ],
    [
      'with deep parameters',
      tool({
        inputSchema: { type: 'object', properties: JSON.parse(`${'{"a":'.repeat(40)}{}${'}'.repeat(40)}`) },
      }),
      'deeper than 32',
    ],
    ['that is no object', null, 'its name'],
  ])('%s is refused', (_, entry, text) => {
    expect(reason(entry)).toContain(text);
  });

  test('has limits for its description, the number of tools and their whole length', () => {
    expect(first(tool({ description: 'x'.repeat(9_000) })).description.length).toBe(8_193);
    const many = readDefinitions(Array.from({ length: 130 }, (_, i) => tool({ name: `t${i}` })));
    expect([many.definitions.length, many.refused.length]).toEqual([128, 2]);
    const long = readDefinitions(
      Array.from({ length: 60 }, (_, i) => tool({ name: `t${i}`, description: 'x'.repeat(8_000) })),
    );
    expect(long.definitions.length).toBe(32);
    expect(long.refused[0]!.reason).toContain('262144');
    expect(readDefinitions([tool(), tool()]).refused).toEqual([
      { name: 'read', reason: 'the server lists another tool of that name' },
    ]);
  });
});

test('changes are named by kind', () => {
  const list = (...entries: object[]) => readDefinitions(entries).definitions;
  const before = list(tool(), tool({ name: 'gone' }), tool({ name: 'same' }));
  const now = list(tool({ description: 'Other' }), tool({ name: 'same' }), tool({ name: 'fresh' }));
  expect(compareDefinitions(before, now)).toEqual({ changed: ['read'], added: ['fresh'], removed: ['gone'] });
});
