// docs/policy.md: its examples load, and its tables are true.
import { readFileSync } from 'node:fs';
import type { Role } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { ACTIONS, type Action } from './actions.ts';
import { compileGlob } from './glob.ts';
import { LIMIT_FIELDS } from './limits.ts';
import { parsePolicy } from './parse-policy.ts';

const text = readFileSync(new URL('../../../../docs/policy.md', import.meta.url), 'utf8');
const examples = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, example]) => example!);
const policies = examples.map((example) => parsePolicy('policy.yaml', example));

test('the examples have neither errors nor warnings', () => {
  expect(examples).toHaveLength(3);
  expect(policies.flatMap(({ faults }) => faults)).toEqual([]);
  expect(policies.map(({ policy }) => policy!.isForeign)).toEqual([false, false, true]);
});

test('the decisions of the first example match its table', () => {
  const rows = [
    ...text.matchAll(
      /^\| `(\w+)`, role (\w+), (\w+) (\S+) \| (allowed|denied) by (?:`([\w-]+)`|default) \|$/gm,
    ),
  ];
  expect(rows.length).toBeGreaterThanOrEqual(6);
  for (const [row, id, role, action, address, outcome, ruleId] of rows) {
    const principal = { id: id!, roles: [role as Role] };
    const { effect, rule } = policies[0]!.policy!.evaluate({ principal, action: action as Action, address });
    expect([effect === 'allow' ? 'allowed' : 'denied', rule?.id], row).toEqual([outcome, ruleId]);
  }
});

test('the globs match according to their table', () => {
  const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, value]) => value!);
  const table = text.slice(text.indexOf('| Glob |')).split('\n\n')[0]!;
  const rows = table
    .split('\n')
    .slice(2)
    .map((row) => row.split('|').slice(1, 4));
  expect(rows).toHaveLength(3);
  for (const [glob, matching, other] of rows) {
    const compiled = compileGlob(quoted(glob!)[0]!);
    for (const value of quoted(matching!)) expect(compiled.matches(value), value).toBe(true);
    for (const value of quoted(other!)) expect(compiled.matches(value), value).toBe(false);
  }
});

test('all actions and limits are documented', () => {
  expect(ACTIONS.filter((action) => !text.includes(`\`${action}\``))).toEqual([]);
  expect(Object.keys(LIMIT_FIELDS).filter((field) => !examples[1]!.includes(`${field}:`))).toEqual([]);
});
