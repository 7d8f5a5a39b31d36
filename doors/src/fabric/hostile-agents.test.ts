// Agents with invalid descriptions: they affect neither other agents nor the clients that read the lists.
import { defineAgent, operation } from '@fame-fabric/agents';
import { expect, test } from 'vitest';
import { httpDoor } from '../http/http-door.ts';
import { mcpDoor } from '../mcp/mcp-door.ts';
import { mcpClient } from '../mcp/testing/mcp-client.ts';
import { doorKit } from '../testing/door-kit.ts';
import { agentCard } from './agent-card.ts';

const named = (name: unknown) => ({ name });
const withParams = (params: unknown) => ({ name: `op${JSON.stringify(params).length}`, params });
const OPERATIONS: readonly unknown[] = [
  named('half\ud800'),
  named('line\nbreak'),
  named('n'.repeat(100_000)),
  named('x;id$(id)`id`\'"&#?'),
  named('__proto__'),
  withParams({ type: 'object', properties: 5 }),
  withParams({ type: 'object', properties: { a: null }, required: ['a'] }),
  withParams({ type: 'object', properties: { a: { anyOf: [null] } }, required: ['a'] }),
  withParams({ type: 'object', properties: { _mcp: {} }, required: 'a' }),
  withParams({ type: 'object', required: [{}, 1] }),
  withParams({ anyOf: [] }),
  withParams({ anyOf: [null] }),
  withParams({ $ref: '#' }),
];

const hostile = defineAgent({
  address: 'hostile@fame.fabric',
  operations: { describe: operation({ immediate: true, run: () => ({ operations: OPERATIONS }) }) },
});
const math = defineAgent({
  address: 'math@fame.fabric',
  operations: { add: operation({ run: () => 3 }) },
});

test('the plain HTTP door shows them and the other agents', async () => {
  await using kit = await doorKit(httpDoor, { agents: [hostile, math] });
  for (const url of ['/agents', '/agents/hostile', '/openapi.json']) {
    const response = await kit.inject({ url });
    expect({ url, status: response.statusCode }).toEqual({ url, status: 200 });
  }
  const { paths } = (await kit.inject({ url: '/openapi.json' })).json();
  expect(paths).toHaveProperty(['/agents/math@fame.fabric/add']);
  expect(kit.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test('an example command with a hostile operation name runs no other command in a shell', async () => {
  await using kit = await doorKit(httpDoor, { agents: [hostile] });
  const { operations } = (await kit.inject({ url: '/agents/hostile' })).json();
  const examples = operations.map(({ example }: { example: string }) => example);
  const odd = examples.find((example: string) => example.includes('$(id)'));
  expect(odd).toBe(
    `curl -s 'http://localhost:80/agents/hostile@fame.fabric/x;id$(id)%60id%60%27%22&%23%3F' -d '{}'`,
  );
});

test.each(['2026-07-28', '2025-11-25'] as const)('a client of MCP %s reads the tools', async (era) => {
  await using kit = await doorKit(mcpDoor, { agents: [hostile, math] });
  await using mcp = await mcpClient(kit, { era });
  await mcp.client.connect(mcp.transport);
  const { tools } = await mcp.client.listTools();
  expect(tools.map(({ name }) => name)).toContain('math_add');
  expect(tools.find(({ name }) => name.includes('proto'))).toBeDefined();
});

test('unprintable names and invalid schemas are left out', () => {
  const card = agentCard('hostile@fame.fabric', { operations: OPERATIONS });
  expect(card.operations.map(({ name }) => name).slice(0, 2)).toEqual(['x;id$(id)`id`\'"&#?', '__proto__']);
  expect(card.operations.flatMap(({ params }) => params ?? [])).toEqual([
    { type: 'object', properties: { a: { anyOf: [null] } }, required: ['a'] },
    { $ref: '#' },
  ]);
});
