// Reading the turns of a journal once, and what came since.
import type { Client, ConversationEvent, EventPage } from '@fame-fabric/client';
import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { JournalTurns } from './journal-turns.ts';

const at = '2026-11-30T02:00:00.000Z';
const events = (...turns: string[]): ConversationEvent[] => [
  { type: 'started', seq: 10, at },
  ...turns.flatMap((text, i): ConversationEvent[] => [
    { type: 'turn', seq: 100 * i + 20, at, turn_id: text, user_message: text },
    { type: 'text', seq: 100 * i + 35, at, turn_id: text, text: 'answer' },
    { type: 'done', seq: 100 * i + 40, at, turn_id: text, text: 'answer' },
  ]),
];

/** Serves journals by conversation, and records the cursors of the reads. */
function served(journals: Record<string, ConversationEvent[]>) {
  const reads: string[] = [];
  const readEvents = async (id: string, { after = 0 }): Promise<EventPage> => {
    reads.push(`${id} ${after}`);
    const journal = journals[id];
    if (!journal) throw new FabricError('CONVERSATION_UNKNOWN', 'None');
    const page = journal.filter(({ seq }) => seq > after).slice(0, 4);
    return { events: page, next: page.at(-1)?.seq ?? after };
  };
  const client = { conversations: () => ({ readEvents }) } as unknown as Client;
  return { client, reads, journals };
}

const idsOf = async (turns: JournalTurns, { client }: { client: Client }, id = 'c') =>
  (await turns.read({ client, principal: 'ada', address: 'chat@fame.fabric', id }))?.questions.map(
    (question) => question.turns[0]?.id,
  );

test('reads a journal in pages, and later only the events since', async () => {
  const fabric = served({ c: events('one', 'two') });
  const turns = new JournalTurns();
  expect(await idsOf(turns, fabric)).toEqual(['one', 'two']);
  fabric.reads.length = 0;
  fabric.journals.c = events('one', 'two', 'three');
  expect(await idsOf(turns, fabric)).toEqual(['one', 'two', 'three']);
  expect(fabric.reads[0]).toBe('c 139');
});

test('reads a journal again if its conversation was replaced by another one', async () => {
  const fabric = served({ c: events('one', 'two') });
  const turns = new JournalTurns();
  await idsOf(turns, fabric);
  fabric.journals.c = events('new');
  expect(await idsOf(turns, fabric)).toEqual(['new']);
  delete fabric.journals.c;
  expect(await idsOf(turns, fabric)).toBeUndefined();
  fabric.journals.c = events('newer');
  expect(await idsOf(turns, fabric)).toEqual(['newer']);
});

test('reads at the same time see each turn once', async () => {
  const fabric = served({ c: events('one', 'two') });
  const turns = new JournalTurns();
  const all = await Promise.all([idsOf(turns, fabric), idsOf(turns, fabric), idsOf(turns, fabric)]);
  for (const ids of all) expect(ids).toEqual(['one', 'two']);
});

test('evicts the least recently used conversations', async () => {
  const fabric = served({ c: events('one', 'two'), d: events('one'), e: events('one') });
  const turns = new JournalTurns(8);
  for (const id of ['c', 'd', 'e']) await idsOf(turns, fabric, id);
  fabric.reads.length = 0;
  await idsOf(turns, fabric, 'e');
  await idsOf(turns, fabric, 'c');
  expect(fabric.reads.filter((read) => read.endsWith(' 0'))).toEqual(['c 0']);
});
