import { FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test, vi } from 'vitest';
import { z } from 'zod';
import { MemoryStore } from '../../store/memory-store.ts';
import { callTools, failing, gate, scriptedModel } from '../../testing.ts';
import { tool } from '../../tools/tool.ts';
import { ToolSet } from '../../tools/tool-set.ts';
import { ChatTurns } from '../../turn/chat-turns.ts';
import { ConversationHost } from '../host.ts';
import { exportConversation, listConversations, removeConversation, showConversation } from './inspect.ts';

async function collect(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

async function filled() {
  const clock = new ManualClock();
  const store = new MemoryStore({ clock });
  const hold = gate();
  const look = tool({ name: 'look', description: 'x', parameters: z.object({}), execute: () => 'seen' });
  const model = scriptedModel([
    callTools({ name: 'look', arguments: {} }, { text: 'Looking.' }),
    'Found it.',
    failing(new FabricError('MODEL_REFUSED', 'no'), 'I can'),
    ['half', hold],
  ]);
  const runner = new ChatTurns({ model, tools: new ToolSet([look]) });
  const host = new ConversationHost({ runner, store, agent: 'chat@fame.fabric', clock });
  const options = { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  await host.start({ id: 'c', callId: 's', options });
  const say = (userMessage: string) => host.turn({ conversationId: 'c', userMessage, turnId: userMessage });
  await (await say('one')).outcome;
  await (await say('two')).outcome;
  await say('three');
  await hold.reached;
  clock.advance(1_000);
  await vi.waitFor(async () => expect((await store.read('c')).at(-1)!.kind).toBe('text'));
  return { store, host };
}

test('shows the messages, the outcome and the cost of each turn', async () => {
  const { store, host } = await filled();
  const shown = await showConversation(store, 'c');
  expect(shown).toMatchObject({
    id: 'c',
    agent: 'chat@fame.fabric',
    state: 'working',
    turns: 3,
    modelCalls: 3,
    options: { systemPrompt: 'Be brief.' },
    transcript: [
      {
        turnId: 'one',
        state: 'completed',
        user: 'one',
        text: 'Looking.\nFound it.',
        tools: [{ name: 'look', ok: true }],
        usage: { total_tokens: 30 },
        error: undefined,
      },
      { turnId: 'two', state: 'failed', text: 'I can', error: { code: 'MODEL_REFUSED' } },
      { turnId: 'three', state: 'open', text: 'half', endedAt: undefined },
    ],
  });
  await host.close();
});

test('exports the whole journal as lines of JSON', async () => {
  const { store, host } = await filled();
  const lines = await collect(exportConversation(store, 'c'));
  const events = lines.map((line) => JSON.parse(line) as { seq: number });
  expect(events).toEqual(await store.read('c'));
  expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i + 1));
  await host.close();
});

test('lists page by page, and removes a conversation that no agent holds', async () => {
  const { store, host } = await filled();
  const options = { systemPrompt: '', maxHistoryLength: 1, turnPolicy: 'queue' as const };
  for (let i = 0; i < 250; i++) await host.start({ id: `c${i}`, callId: `s${i}`, options });
  expect(await listConversations(store, { limit: 1_000 })).toHaveLength(251);
  expect(await listConversations(store)).toHaveLength(100);
  expect(await listConversations(store, { agent: 'other@fame.fabric' })).toEqual([]);
  await expect(removeConversation(store, 'c')).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
  await removeConversation(store, 'c1');
  await expect(removeConversation(store, 'c1')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  await expect(showConversation(store, 'c1')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  await expect(collect(exportConversation(store, 'c1'))).rejects.toMatchObject({
    code: 'CONVERSATION_UNKNOWN',
  });
  await host.close();
});

test('shows the questions that a turn waits for', async () => {
  const store = new MemoryStore();
  const pay = tool({
    name: 'pay',
    description: 'x',
    parameters: z.object({ usd: z.number() }),
    approval: 'always',
    execute: () => 'paid',
  });
  const model = scriptedModel([callTools({ name: 'pay', arguments: { usd: 5 } })]);
  const runner = new ChatTurns({ model, tools: new ToolSet([pay]) });
  const host = new ConversationHost({ runner, store, agent: 'chat@fame.fabric' });
  const options = { systemPrompt: '', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  await host.start({ id: 'c', callId: 's', options });
  const turn = await host.turn({ conversationId: 'c', userMessage: 'pay', turnId: 't' });
  await vi.waitFor(() => expect(turn.isIdle).toBe(true));
  const approvals = [{ kind: 'tool', name: 'pay', args: { usd: 5 } }];
  expect(await showConversation(store, 'c')).toMatchObject({
    state: 'input-required',
    transcript: [{ state: 'input-required', approvals }],
  });
  await host.cancelTurn('c');
  expect(await showConversation(store, 'c')).toMatchObject({
    state: 'working',
    transcript: [{ state: 'cancelled', approvals: [] }],
  });
  await host.close();
});
