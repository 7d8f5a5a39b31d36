// Principals of a sentinel in the same process: their links, and the end of their credentials.
import { defineAgent, operation } from '@fame-fabric/agents';
import { gate } from '@fame-fabric/agents/testing';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { httpDoor } from '../http/http-door.ts';
import { doorKit } from '../testing/door-kit.ts';
import { eventsIn, streamText } from '../testing/sse-events.ts';

const echo = defineAgent({
  address: 'echo@fame.fabric',
  operations: {
    echo: operation({ run: (params) => params }),
    never: operation({ run: () => new Promise(() => {}) }),
  },
});
const ADA = { authorization: 'Bearer fk_ada' };
const call = (method: string) => ({ method: 'POST', url: `/agents/echo/${method}`, headers: ADA }) as const;

test('a revoked key is refused at once, and its link ends with the next sweep', async () => {
  const clock = new ManualClock();
  await using kit = await doorKit(httpDoor, { agents: [echo], clock });
  expect((await kit.inject(call('echo'))).statusCode).toBe(200);
  const waiting = kit.inject(call('never'));
  await settle();
  kit.sentinel.revoke('ada');
  expect((await kit.inject(call('echo'))).statusCode).toBe(401);
  await expect
    .poll(() => {
      clock.advance(1_000);
      return kit.fabric.linkCount;
    })
    .toBe(0);
  expect((await waiting).json().error.code).toBe('LINK_CLOSED');
});

test('a stream of a revoked key ends with an error, and its turn continues', async () => {
  const clock = new ManualClock();
  const half = gate();
  await using kit = await doorKit(httpDoor, { replies: [['Hello ', half, 'Ada']], clock });
  const response = await kit.inject({
    method: 'POST',
    url: '/agents/chat/run_turn',
    headers: { ...ADA, accept: 'text/event-stream' },
    payload: { user_message: 'Hi', conversation_id: 'c', turn_id: 't' },
    payloadAsStream: true,
  });
  const text = streamText(response);
  kit.sentinel.revoke('ada');
  await expect
    .poll(() => {
      clock.advance(1_000);
      return kit.fabric.linkCount;
    })
    .toBe(0);
  expect(eventsIn(await text).at(-1)).toMatchObject({
    event: 'error',
    data: { error: { code: 'LINK_CLOSED' }, turn_id: 't' },
  });
  half.open();
  await expect
    .poll(async () => (await kit.client.conversations('chat@fame.fabric').turn('c', 't')).state)
    .toBe('completed');
});

test('a refused attach is reported with its code', async () => {
  await using kit = await doorKit(httpDoor, { agents: [echo] });
  kit.sentinel.close();
  const response = await kit.inject(call('echo'));
  expect([response.statusCode, response.json().error.code]).toEqual([503, 'LINK_REFUSED']);
});

test('the links of the doors are sessions of the sentinel, and end with the door', async () => {
  await using kit = await doorKit(httpDoor, { agents: [echo] });
  await kit.inject(call('echo'));
  expect(kit.fabric.linkCount).toBe(1);
  await kit.fabric.close();
  expect(kit.fabric.linkCount).toBe(0);
  expect((await kit.inject(call('echo'))).statusCode).toBe(503);
});

test('principals share the cards of agents that describe themselves in the same way', async () => {
  await using kit = await doorKit(httpDoor, { agents: [echo] });
  const cardOf = async (name: string) => {
    const headers = { authorization: `Bearer fk_${name}` };
    using visitor = await kit.fabric.visit({ headers } as Parameters<typeof kit.fabric.visit>[0]);
    return visitor.agent('echo');
  };
  const [ada, bea] = [await cardOf('ada'), await cardOf('bea')];
  expect(ada?.operations.map(({ name }) => name)).toEqual(['echo', 'never']);
  expect(ada).toBe(bea);
});
