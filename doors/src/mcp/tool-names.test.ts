import { expect, test } from 'vitest';
import { longToolName, MAX_TOOL_NAME_CHARS, type OperationRef, toolNames } from './tool-names.ts';

const ref = (address: string, operation: string): OperationRef => ({ address, operation });
const namesOf = (...refs: OperationRef[]): string[] => [...toolNames(refs).keys()];

test('a name has the agent and the operation', () => {
  expect(namesOf(ref('chat@fame.fabric', 'run_turn'), ref('math-agent@a.b', 'add'))).toEqual([
    'chat_run_turn',
    'math-agent_add',
  ]);
});

test('an operation with the name of its agent has that name', () => {
  expect(namesOf(ref('echo@fame.fabric', 'echo'))).toEqual(['echo']);
});

test('other characters become underscores', () => {
  expect(namesOf(ref('über.agent@fame.fabric', 'tasks/send now'))).toEqual(['ber_agent_tasks_send_now']);
  expect(namesOf(ref('@/node/x', 'ö'))).toEqual(['node_x_operation']);
});

test('names that collide have a hash, in each order of the agents', () => {
  const refs = [ref('chat@a.b', 'say'), ref('chat@c.d', 'say'), ref('chat@a.b', 'hear')];
  const names = namesOf(...refs);
  expect(names).toHaveLength(3);
  expect(names[0]).toBe('chat_hear');
  expect(names[1]).toMatch(/^chat_say_[a-z0-9]{6}$/);
  expect(namesOf(...refs.toReversed())).toEqual(names);
  expect(toolNames(refs).get(longToolName(refs[0]!))).toBe(refs[0]);
});

test('a name that another tool has gets a hash', () => {
  const own = ref('ask@a.b', 'agent');
  expect([...toolNames([own], ['ask_agent']).keys()]).toEqual([longToolName(own)]);
});

test('long names are cut and stay different', () => {
  const long = 'x'.repeat(200);
  const names = namesOf(ref(`${long}@a.b`, 'one'), ref(`${long}@a.b`, 'two'));
  expect(new Set(names).size).toBe(2);
  for (const name of names) {
    expect(name).toMatch(/^[A-Za-z0-9_-]+$/);
    expect(name.length).toBeLessThanOrEqual(MAX_TOOL_NAME_CHARS);
  }
});
