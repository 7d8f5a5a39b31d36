// The list of agents, as each caller sees it.
import { defineAgent, operation } from '@fame-fabric/agents';
import { expect, test } from 'vitest';
import { doorKit } from '../testing/door-kit.ts';
import { httpDoor } from './http-door.ts';

const echo = defineAgent({
  address: 'echo@fame.fabric',
  description: 'Repeats a text.',
  operations: { echo: operation({ run: (params) => params }) },
});

const as = (name: string) => ({ authorization: `Bearer fk_${name}` });

test('lists the agents by address', async () => {
  await using kit = await doorKit(httpDoor, { replies: [], agents: [echo] });
  const response = await kit.inject({ url: '/agents' });
  expect(response.statusCode).toBe(200);
  expect(response.json().agents.map(({ address }: { address: string }) => address)).toEqual([
    'chat@fame.fabric',
    'echo@fame.fabric',
  ]);
});

test('lists the agents that the caller may call', async () => {
  await using kit = await doorKit(httpDoor, {
    isCredentialNeeded: true,
    replies: [],
    agents: [echo],
    principals: [{ id: 'ada', allow: ['echo@fame.fabric'] }],
  });
  const refused = await kit.inject({ url: '/agents' });
  expect(refused.statusCode).toBe(401);
  expect(refused.headers['www-authenticate']).toBe('Bearer');
  const response = await kit.inject({ url: '/agents', headers: as('ada') });
  expect(response.json().agents).toEqual([{ address: 'echo@fame.fabric', description: 'Repeats a text.' }]);
});
