import type { Client, ConversationSummary } from '@fame-fabric/client';
import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import type { AgentCard } from '../fabric/agent-card.ts';
import { plainCard } from '../fabric/agent-card.ts';
import { listConversations, readConversation } from './resources.ts';

const chat = (address: string): AgentCard => ({ ...plainCard(address), isChat: true });

/** A client with pages of conversations for each agent: lists of ids. An agent without pages refuses to list. */
const clientOf = (pages: Record<string, string[][]>): Client =>
  ({
    conversations: (address: string) => ({
      async list({ before = '0' }: { before?: string }) {
        const own = pages[address];
        if (!own) throw new FabricError('AUTH_FORBIDDEN', 'no');
        const at = Number(before);
        return {
          conversations: (own[at] ?? []).map(
            (id) => ({ id, turns: 1, state: 'working' }) as ConversationSummary,
          ),
          next: at + 1 < own.length ? String(at + 1) : null,
        };
      },
      async readEvents(id: string, { after }: { after: number }) {
        if (id !== 'c1') throw new FabricError('CONVERSATION_UNKNOWN', 'no');
        const events = [
          { seq: 1, type: 'turn', user_message: 'Hi' },
          { seq: 2, type: 'done', text: 'Hello' },
          { seq: 3, type: 'turn', user_message: 'Pay' },
          { seq: 4, type: 'error', code: 'MODEL_AUTH', message: 'Wrong key' },
        ].filter(({ seq }) => seq > after);
        const page = events.slice(0, 3);
        return { events: page, next: page.at(-1)?.seq ?? after };
      },
    }),
  }) as unknown as Client;

/** The names of all pages. */
async function names(client: Client, cards: readonly AgentCard[]): Promise<string[][]> {
  const pages: string[][] = [];
  let cursor: string | undefined;
  do {
    const page = await listConversations(client, cards, cursor);
    pages.push(page.resources.map(({ name }) => name));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return pages;
}

test('lists the pages of each chat agent in turn, without empty ones', async () => {
  const cards = [chat('a@x.y'), chat('b@x.y'), plainCard('c@x.y'), chat('d@x.y'), chat('e@x.y')];
  const client = clientOf({ 'a@x.y': [['a1'], ['a2']], 'd@x.y': [[]], 'e@x.y': [['e1']] });
  expect(await names(client, cards)).toEqual([['a1'], ['a2'], ['e1']]);
  expect(await names(client, [])).toEqual([[]]);
});

test('a cursor of another server starts at the first agent', async () => {
  const client = clientOf({ 'a@x.y': [['a1']] });
  expect((await listConversations(client, [chat('a@x.y')], 'nonsense')).resources).toHaveLength(1);
});

test('reads the messages of all pages', async () => {
  const text = await readConversation(clientOf({}), 'fame://conversations/a%40x.y/c1');
  expect(text).toBe(
    '**user**: Hi\n\n**assistant**: Hello\n\n**user**: Pay\n\n**error**: MODEL_AUTH: Wrong key',
  );
});

test.each([
  'test://x',
  'fame://conversations/a%40x.y',
  'fame://conversations/a%40x.y/c1/more',
  'fame://conversations/%zz/c1',
  'fame://conversations/a%40x.y/other',
])('%s is not found', async (uri) => {
  await expect(readConversation(clientOf({}), uri)).rejects.toMatchObject({ uri });
});
