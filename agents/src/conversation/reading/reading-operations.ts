// The operations that read conversations: the list of an agent, the events of a conversation, the reports of turns, and statistics.
import { FabricError } from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import { identifiedCaller } from '../../agent/identified-caller.ts';
import { type Operation, operation } from '../../agent/operation.ts';
import type { Cost } from '../../model/cost.ts';
import type { Usage } from '../../model/model.ts';
import { noUsage } from '../../model/usage.ts';
import type { ConversationRecord, EndedTurnState, FindCursor, StoredState } from '../../store/store.ts';
import type { Statistics } from '../../telemetry/turn-statistics.ts';
import { MAX_ANSWER_BYTES } from '../../turn/newest-that-fit.ts';
import { CONVERSATION_LIMITS } from '../conversation.ts';
import type { ConversationHost } from '../host.ts';
import { conversationId, owner } from '../operations/task-view.ts';
import { reached } from '../operations/turn-calls.ts';
import { turnId } from '../operations/turn-params.ts';
import type { EventPage } from './conversation-follower.ts';
import { isoTime, type RecordedEvent } from './recorded-event.ts';

const { maxIdChars, maxSearchChars, maxListed, maxEvents } = CONVERSATION_LIMITS;
/** Searches of the store for one page. Each does a bounded amount of work, and other requests run in between. */
const MAX_FINDS = 8;
/** Longest cursor: two ids of four bytes a character, as base64. */
const MAX_CURSOR_CHARS = 8_192;

/** One conversation in the list. Times are ISO 8601. */
interface ConversationEntry {
  id: string;
  state: StoredState;
  /** Id of the principal that started it. */
  owner: string;
  turns: number;
  created_at: string;
  changed_at: string;
  usage: Usage;
  cost: Cost;
  /** State of the turn that ended last. */
  last_outcome: EndedTurnState | null;
  forked_from?: { conversation_id: string; turn_id: string };
}

export interface ConversationList {
  conversations: ConversationEntry[];
  /** The `before` of the next page; null at the end. A page may be short or empty although it has one. */
  next: string | null;
}

const listParams = z.object({
  state: z.enum(['working', 'input-required', 'completed', 'canceled']).optional(),
  failed: z.boolean().optional(),
  owner,
  search: z.string().max(maxSearchChars).optional(),
  before: z.string().min(1).max(MAX_CURSOR_CHARS).optional(),
  limit: z.int().min(1).max(maxListed).default(50),
});

export const readingOperations = (host: ConversationHost): Record<string, Operation> => ({
  list_conversations: operation({
    immediate: true,
    description:
      'Lists the conversations of the caller at this agent, latest change first; all with the right to use all.',
    params: listParams,
    async run({ owner, ...params }, context): Promise<ConversationList> {
      const { principal, mayUseAny } = await identifiedCaller(context);
      if (principal === ANONYMOUS.id) throw noPrincipal();
      if (mayUseAny) return list(host, { ...params, principal: owner });
      // A caller without that right sees its own conversations only.
      if (owner !== undefined && owner !== principal) return { conversations: [], next: null };
      return list(host, { ...params, principal });
    },
  }),
  read_events: operation({
    immediate: true,
    mayTakeLong: true,
    description:
      'Returns the events of a conversation after a cursor. With `follow`, streams past and future events.',
    params: z.object({
      conversation_id: conversationId,
      after: z.int().min(0).default(0),
      limit: z.int().min(1).max(maxEvents).default(100),
      follow: z.boolean().default(false),
      owner,
    }),
    async run(
      { after, limit, follow, ...named },
      context,
    ): Promise<EventPage | AsyncIterable<RecordedEvent>> {
      if (follow && !context.isStream)
        throw new FabricError('PARAMS_INVALID', 'follow: Only a call that asks for a stream can follow.');
      const id = await reached(host, named, context);
      return follow
        ? host.reads.follow(id, after, context.signal)
        : host.reads.events(id, { after, limit, maxBytes: MAX_ANSWER_BYTES });
    },
  }),
  get_turn: operation({
    immediate: true,
    description: 'Returns the report of a turn: its state, times, outcome, cost and steps.',
    params: z.object({ conversation_id: conversationId, turn_id: turnId, owner }),
    run: async ({ turn_id, ...named }, context) =>
      host.reads.report(await reached(host, named, context), turn_id),
  }),
  read_statistics: operation({
    immediate: true,
    description:
      'Returns figures of the turns of all callers in the last 15 minutes, one sample in 5 seconds. Needs the right to use all conversations.',
    params: z.object({ since: z.number().min(0).optional() }),
    async run({ since }, context): Promise<Statistics> {
      const { mayUseAny } = await identifiedCaller(context);
      if (!mayUseAny) throw noStatistics();
      return host.statistics.read(since);
    },
  }),
});

/** All callers without a credential are the principal `anonymous`, so each would see the conversations of the others. */
const noPrincipal = (): FabricError =>
  new FabricError(
    'AUTH_FORBIDDEN',
    'The list of conversations needs a credential, such as the local key. Set FAME_DATA_DIR to the data directory of the sentinel, or FAME_ADMISSION_TOKEN_FILE to the file "token" in it.',
  );

const noStatistics = (): FabricError =>
  new FabricError(
    'AUTH_FORBIDDEN',
    'The statistics cover the turns of all callers. They need the role admin, or a policy that allows Conversations of all owners.',
  );

async function list(
  host: ConversationHost,
  {
    before,
    limit,
    search,
    ...filter
  }: Omit<z.output<typeof listParams>, 'owner'> & { principal: string | undefined },
): Promise<ConversationList> {
  const conversations: ConversationEntry[] = [];
  let bytes = 0;
  let from = before === undefined ? undefined : readCursor(before);
  for (let finds = 0; finds < MAX_FINDS; finds++) {
    const { records, next } = await host.reads.find({
      ...filter,
      // An empty text filters nothing.
      search: search || undefined,
      limit: limit - conversations.length,
      from,
    });
    for (const record of records) {
      const entry = entryOf(record);
      bytes += Buffer.byteLength(JSON.stringify(entry));
      if (bytes > MAX_ANSWER_BYTES) return { conversations, next: from ? writeCursor(from) : null };
      conversations.push(entry);
      from = { changedAt: record.changedAt, id: record.id };
    }
    from = next;
    if (!next || conversations.length >= limit) break;
  }
  return { conversations, next: from ? writeCursor(from) : null };
}

function entryOf(record: ConversationRecord): ConversationEntry {
  const { usage = noUsage(), cost = 'unknown' } = record.totals as { usage?: Usage; cost?: Cost };
  const { forkedFrom } = record;
  return {
    id: record.publicId,
    state: record.state,
    owner: record.principal,
    turns: record.turns,
    created_at: isoTime(record.startedAt),
    changed_at: isoTime(record.changedAt),
    usage,
    cost,
    last_outcome: record.lastOutcome ?? null,
    ...(forkedFrom
      ? { forked_from: { conversation_id: forkedFrom.conversationId, turn_id: forkedFrom.turnId } }
      : {}),
  };
}

const writeCursor = ({ changedAt, id, turnId }: FindCursor): string =>
  Buffer.from(JSON.stringify([changedAt, id, ...(turnId === undefined ? [] : [turnId])])).toString(
    'base64url',
  );

const cursor = z.tuple([z.int().min(0), z.string().max(2 * maxIdChars)], z.string().max(maxIdChars));

function readCursor(text: string): FindCursor {
  try {
    const [changedAt, id, turnId] = cursor.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
    return { changedAt, id, ...(turnId === undefined ? {} : { turnId }) };
  } catch (cause) {
    throw new FabricError('PARAMS_INVALID', 'before: It is not the `next` of a page.', { cause });
  }
}
