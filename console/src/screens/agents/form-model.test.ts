import { expect, test } from 'vitest';
import { type Draft, draftsOf, emptyDrafts, formOf, readForm, readJson } from './form-model.ts';
import { faultsOf } from './schema.ts';

const integer = { type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 };
const SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['title', 'count', 'mode', 'tags'],
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 5, description: 'The title.' },
    count: { ...integer, minimum: 0 },
    mode: { enum: ['fast', 'slow'] },
    tags: { type: 'array', items: { type: 'string' }, maxItems: 2 },
    ratio: { anyOf: [{ type: 'number', exclusiveMinimum: 0 }, { type: 'null' }], default: null },
    isDry: { type: 'boolean', default: false },
    limits: {
      type: 'object',
      additionalProperties: false,
      required: ['max'],
      properties: { max: integer, unit: { type: 'string' } },
    },
    extra: { type: 'object' },
    either: { anyOf: [{ type: 'string' }, { type: 'number' }] },
  },
};
const form = formOf(SCHEMA);
const filled = (values: Readonly<Record<string, Draft>>): Draft[] =>
  form.fields.map(({ name }, i) => values[name] ?? emptyDrafts(form)[i]!);

test('each parameter gets the field of its type', () => {
  expect(form.fields.map(({ name, kind, isRequired }) => [name, kind, isRequired])).toEqual([
    ['title', 'text', true],
    ['count', 'number', true],
    ['mode', 'choice', true],
    ['tags', 'list', true],
    ['ratio', 'number', false],
    ['isDry', 'choice', false],
    ['limits', 'group', false],
    ['extra', 'json', false],
    ['either', 'json', false],
  ]);
  expect(form.fields[0]).toMatchObject({ description: 'The title.', limits: 'at most 5 characters' });
  expect(form.fields[1]).toMatchObject({ limits: 'whole number, at least 0' });
  expect(form).toMatchObject({ isPositional: false, isOpen: false });
});

test('empty fields of optional parameters are left out', () => {
  expect(readForm(form, filled({ title: 'A', count: '2' }))).toEqual({
    params: { title: 'A', count: 2, mode: 'fast', tags: [] },
  });
});

test('filled fields become values of their type', () => {
  const drafts = filled({
    title: 'A',
    count: ' 2 ',
    mode: '1',
    tags: ['x', ''],
    ratio: '0.5',
    isDry: '1',
    limits: { max: '3', unit: '' },
    extra: '{"a": [1]}',
    either: '"text"',
  });
  const params = {
    title: 'A',
    count: 2,
    mode: 'slow',
    tags: ['x', ''],
    ratio: 0.5,
    isDry: false,
    limits: { max: 3 },
    extra: { a: [1] },
    either: 'text',
  };
  expect(readForm(form, drafts)).toEqual({ params });
  expect(readForm(form, draftsOf(form, params)!)).toEqual({ params });
});

test.each<[Readonly<Record<string, Draft>>, string, RegExp]>([
  [{ title: '' }, 'title', /must not be empty/],
  [{ title: 'longer' }, 'title', /at most 5/],
  [{ count: '' }, 'count', /is required/],
  [{ count: '1.5' }, 'count', /a whole number/],
  [{ count: 'two' }, 'count', /a number/],
  [{ count: '-1' }, 'count', /at least 0/],
  [{ tags: ['1', '2', '3'] }, 'tags', /at most 2 items/],
  [{ ratio: '0' }, 'ratio', /more than 0/],
  [{ limits: { max: '', unit: 'ms' } }, 'limits.max', /is required/],
  [{ extra: '{' }, 'extra', /must be JSON/],
  [{ extra: '[]' }, 'extra', /an object/],
  [{ either: 'true' }, 'either', /none of the alternatives/],
])('the fault of %j is at %s', (draft, path, message) => {
  const reading = readForm(form, filled({ title: 'A', count: '1', ...draft }));
  expect(reading).toEqual({ faults: [{ path, message: expect.stringMatching(message) }] });
});

test('parameters with positions become an array', () => {
  const tuple = formOf({ type: 'array', minItems: 1, prefixItems: [integer, { type: 'string' }] });
  expect(tuple.fields.map(({ name, isRequired }) => [name, isRequired])).toEqual([
    ['1', true],
    ['2', false],
  ]);
  expect(readForm(tuple, ['7', ''])).toEqual({ params: [7] });
  expect(readForm(tuple, ['7', 'x'])).toEqual({ params: [7, 'x'] });
  expect(readForm(tuple, ['x', ''])).toEqual({ faults: [{ path: '0', message: 'must be a number' }] });
  expect(draftsOf(tuple, [7])).toEqual(['7', '']);
});

test('JSON is checked against the schema', () => {
  expect(readJson(form, '{"title": "A", "count": 1, "mode": "fast", "tags": []}')).toHaveProperty('params');
  expect(readJson(form, '{')).toEqual({ faults: [{ path: '', message: expect.stringMatching(/not JSON/) }] });
  expect(readJson(form, '')).toEqual({
    faults: ['title', 'count', 'mode', 'tags'].map((path) => ({ path, message: 'is required' })),
  });
  expect(readJson(form, '{"title": "A", "count": 1, "mode": "odd", "tags": [], "typo": 1}')).toEqual({
    faults: [
      { path: 'mode', message: 'must be one of "fast", "slow"' },
      { path: 'typo', message: 'is not a known parameter' },
    ],
  });
});

test('a form shows only parameters that it can keep', () => {
  expect(draftsOf(form, { title: 'A', other: 1 })).toBeUndefined();
  expect(draftsOf(form, [1])).toBeUndefined();
});

test('schemas from other nodes may have any form', () => {
  const loop: Record<string, unknown> = { type: 'object', properties: { next: { $ref: '#' } } };
  expect(formOf(loop).fields).toMatchObject([{ name: 'next', kind: 'json' }]);
  const circle = { properties: { a: { $ref: '#/$defs/a' } }, $defs: { a: { $ref: '#/$defs/a' } } };
  expect(formOf(circle).fields).toMatchObject([{ name: 'a', kind: 'json' }]);
  for (const odd of [null, 7, 'x', [], { properties: 7, required: {} }, { type: 7, prefixItems: {} }])
    expect(readForm(formOf(odd), [])).toEqual({ params: {} });
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`p${i}`, {}]));
  expect(formOf({ properties: many }).fields.length).toBeLessThanOrEqual(200);
  let nested: unknown = { type: 'string' };
  for (let i = 0; i < 200; i++) nested = { type: 'array', items: nested };
  expect(JSON.stringify(formOf({ properties: { nested } }).fields).length).toBeLessThan(2_000);
  // A pattern that takes exponential time is not run.
  expect(faultsOf({ type: 'string', pattern: '^(a+)+$' }, `${'a'.repeat(60)}!`)).toEqual([]);
  expect(
    faultsOf({ properties: { __proto__: { type: 'string' } } }, JSON.parse('{"constructor": 1}')),
  ).toEqual([]);
});
