// The operations of the store that only read. Each statement sees one state of the database, so a read needs no transaction.
import { eventsAfter, fenceOf, seqBefore } from '../cursor.ts';
import { type FindRow, findPages, type UserEvent } from '../find.ts';
import type {
  ConversationRecord,
  FindCursor,
  FindOptions,
  FoundPage,
  HistoryOptions,
  JournalEvent,
  ListOptions,
  Peek,
  ReachRequest,
  ReadOptions,
  TurnRecord,
  TurnState,
} from '../store.ts';
import { MAX_LEASE_MS } from '../store.ts';
import { approvalOf } from './appends.ts';
import type { Sql, Value } from './connection.ts';
import { livingOf } from './living.ts';
import {
  COLUMNS,
  EVENT_COLUMNS,
  type EventRow,
  eventOf,
  isLeased,
  JOIN_ACQUISITION,
  type Row,
  recordOf,
} from './rows.ts';
import { SIZE } from './transaction.ts';

/** User events that one statement of a search reads. */
const EVENT_PAGE = 100;
/** Rows that one statement of a search reads. */
const ROW_PAGE = 200;
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

export async function reach(sql: Sql, request: ReachRequest): Promise<string | undefined> {
  const { agent, publicId, principal, mayUseAny, owner } = request;
  // One query for every caller and every id, so that its time does not depend on conversations that are not shared.
  const row = await sql.get<{ id: string }>(
    `SELECT id FROM (
       SELECT id, key, principal <> $1 AS is_foreign, NOT shared_with && ARRAY[$1, '*'] AS is_unshared
       FROM conversation WHERE public_id = $2 AND agent = $3 AND trashed_at = 0 AND coalesce($4, principal) = principal) AS found
     WHERE NOT is_foreign OR NOT is_unshared OR $5 ORDER BY is_foreign, is_unshared, key LIMIT 1`,
    principal,
    publicId,
    agent,
    owner ?? null,
    mayUseAny,
  );
  return row?.id;
}

interface PeekRow extends Row {
  bytes: number;
  turn_state: TurnState | null;
  accepted_seq: number;
  ended_seq: number;
  in_history: boolean;
}

/** Returns the state of a conversation, and the size of the store. */
export async function peek(
  sql: Sql,
  now: number | undefined,
  id: string,
  turnId: string | undefined,
): Promise<{ peek: Omit<Peek, 'isFull'>; bytes: number } | undefined> {
  const row = await sql.get<PeekRow & { now: number }>(
    `SELECT ${COLUMNS}, ${SIZE} AS bytes, turn.state AS turn_state, accepted_seq, ended_seq, in_history,
       coalesce($3, extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
     FROM conversation LEFT JOIN turn ON turn.conversation = conversation.key AND turn_id = $2
     WHERE id = $1 AND trashed_at = 0`,
    id,
    turnId ?? null,
    now ?? null,
  );
  if (!row) return undefined;
  const turn: TurnRecord | undefined =
    row.turn_state === null
      ? undefined
      : {
          turnId: turnId!,
          state: row.turn_state,
          acceptedSeq: row.accepted_seq,
          endedSeq: row.ended_seq,
          inHistory: row.in_history,
        };
  const isHeld = isLeased(row, row.now) && (await livingOf(sql, [row.holder])).size > 0;
  return {
    bytes: row.bytes,
    peek: {
      publicId: row.public_id,
      agent: row.agent,
      state: row.state,
      lastSeq: row.last_seq,
      epoch: row.fence,
      isDormant: row.dormant_fence === row.fence,
      turn,
      ...(isHeld ? { holder: row.holder } : {}),
    },
  };
}

export async function record(
  sql: Sql,
  id: string,
  { inTrash = false }: Pick<ListOptions, 'inTrash'> = {},
): Promise<ConversationRecord | undefined> {
  const row = await sql.get<Row>(
    `SELECT ${COLUMNS} FROM conversation WHERE id = $1 AND (trashed_at > 0) = $2`,
    id,
    inTrash,
  );
  return row && recordOf(row);
}

export async function read(sql: Sql, id: string, options: ReadOptions): Promise<readonly JournalEvent[]> {
  const { afterCursor, until = NO_LIMIT, limit = 500, turnId, maxChars } = options;
  const place = await sql.get<{ key: number; last_seq: number }>(
    'SELECT key, last_seq FROM conversation WHERE id = $1',
    id,
  );
  if (!place) return [];
  const after =
    afterCursor === undefined ? (options.after ?? 0) : await seqBeforeCursor(sql, place, afterCursor);
  // A reader at a cursor may have the whole first one already.
  const extra = afterCursor === undefined ? 0 : 1;
  const rows = await sql.all<EventRow>(
    `SELECT ${EVENT_COLUMNS} FROM (
       SELECT conversation, seq, row_number() OVER (ORDER BY seq) AS n, sum(chars) OVER (ORDER BY seq) AS sum
       FROM (SELECT conversation, seq, chars FROM event WHERE conversation = $1 AND seq > $2 AND seq <= $3
         AND turn_id IS NOT DISTINCT FROM coalesce($4, turn_id) ORDER BY seq LIMIT $5) AS page) AS sums
     JOIN event e ON e.conversation = sums.conversation AND e.seq = sums.seq
     ${JOIN_ACQUISITION}
     WHERE n <= 1 + $6 OR sum <= $7 ORDER BY e.seq`,
    place.key,
    Math.max(0, Math.trunc(after)),
    until,
    turnId ?? null,
    limit + extra,
    extra,
    maxChars ?? NO_LIMIT,
  );
  const events = rows.map(eventOf);
  return afterCursor === undefined ? events : eventsAfter(events, afterCursor, limit);
}

/** Returns the seq after which a reader at `cursor` continues. */
async function seqBeforeCursor(
  sql: Sql,
  { key, last_seq: lastSeq }: { key: number; last_seq: number },
  cursor: number,
): Promise<number> {
  const fence = fenceOf(cursor);
  const rows = await sql.all<{ fence: number; first_seq: number }>(
    `SELECT fence, first_seq FROM acquisition WHERE conversation = $1 AND fence >= $2 ORDER BY fence LIMIT 2`,
    key,
    fence,
  );
  const own = rows.find((row) => row.fence === fence);
  const next = rows.find((row) => row.fence > fence);
  const acquisition = own && { fence, firstSeq: own.first_seq };
  return seqBefore(cursor, acquisition, next ? next.first_seq - 1 : lastSeq);
}

export async function history(
  sql: Sql,
  id: string,
  { until }: HistoryOptions = {},
): Promise<JournalEvent[][]> {
  const row = await sql.get<Row>(`SELECT ${COLUMNS} FROM conversation WHERE id = $1 AND trashed_at = 0`, id);
  return row ? readHistory(sql, row, until) : [];
}

type TurnEventRow = EventRow & { turn_order: number };

/** Returns the last turns that are part of the history, oldest first, without their `text` events. */
export async function readHistory(sql: Sql, row: Row, until = NO_LIMIT): Promise<JournalEvent[][]> {
  const rows = await sql.all<TurnEventRow>(
    `SELECT t.ended_seq AS turn_order, ${EVENT_COLUMNS} FROM (
       SELECT turn_id, accepted_seq, ended_seq FROM turn WHERE conversation = $1 AND in_history AND ended_seq <= $2
       ORDER BY ended_seq DESC LIMIT $3) AS t
     JOIN event e ON e.conversation = $1 AND e.seq BETWEEN t.accepted_seq AND t.ended_seq AND e.turn_id = t.turn_id
       AND e.kind <> 'text'
     ${JOIN_ACQUISITION}
     ORDER BY t.ended_seq, e.seq`,
    row.key,
    until,
    Math.max(1, row.history_turns),
  );
  return byTurn(rows);
}

/** Returns the open turns with all of their events, in the order in which they were accepted. */
export async function readEvents(sql: Sql, key: number): Promise<JournalEvent[][]> {
  const rows = await sql.all<TurnEventRow>(
    `SELECT t.accepted_seq AS turn_order, ${EVENT_COLUMNS} FROM turn t
     JOIN event e ON e.conversation = $1 AND e.seq >= t.accepted_seq AND e.turn_id = t.turn_id
     ${JOIN_ACQUISITION}
     WHERE t.conversation = $1 AND t.state = 'open' ORDER BY t.accepted_seq, e.seq`,
    key,
  );
  return byTurn(rows);
}

function byTurn(rows: readonly TurnEventRow[]): JournalEvent[][] {
  const turns: JournalEvent[][] = [];
  let last: number | undefined;
  for (const row of rows) {
    if (row.turn_order !== last) turns.push([]);
    last = row.turn_order;
    turns.at(-1)!.push(eventOf(row));
  }
  return turns;
}

export async function turnOfApproval(sql: Sql, id: string, callId: string): Promise<string | undefined> {
  const row = await sql.get<{ turn_id: string }>(
    `SELECT turn_id FROM event JOIN conversation ON conversation.key = event.conversation
     WHERE conversation.id = $1 AND trashed_at = 0 AND approval = $2 LIMIT 1`,
    id,
    approvalOf(callId),
  );
  return row?.turn_id;
}

const UNFINISHED = `agent = $1 AND trashed_at = 0 AND dormant_fence <> fence
  AND key IN (SELECT conversation FROM turn WHERE state = 'open')`;

export async function unfinished(
  sql: Sql,
  now: number | undefined,
  agent: string,
  limit: number,
): Promise<readonly string[]> {
  const time = `coalesce($2, extract(epoch FROM clock_timestamp()) * 1000)::bigint`;
  const isLeasedNow = `lease_until > ${time} AND lease_until <= ${time} + ${MAX_LEASE_MS}`;
  // Few writers hold all of them, so check each writer once.
  const holders = await sql.all<{ holder: string }>(
    `SELECT DISTINCT holder FROM conversation WHERE ${UNFINISHED} AND ${isLeasedNow}`,
    agent,
    now ?? null,
  );
  const living = await livingOf(
    sql,
    holders.map(({ holder }) => holder),
  );
  const rows = await sql.all<{ id: string }>(
    `SELECT id FROM conversation WHERE ${UNFINISHED} AND NOT (${isLeasedNow} AND holder = ANY($3))
     ORDER BY changed_at, key LIMIT $4`,
    agent,
    now ?? null,
    [...living],
    limit,
  );
  return rows.map(({ id }) => id);
}

export async function list(sql: Sql, options: ListOptions): Promise<readonly ConversationRecord[]> {
  const { agent, inTrash = false, limit = 100, before } = options;
  const rows = await sql.all<Row>(
    `SELECT ${COLUMNS} FROM conversation WHERE ${inTrash ? 'trashed_at > 0' : 'trashed_at = 0 AND NOT is_ephemeral'}
       ${agent === undefined ? '' : 'AND agent = $2'}
       ${before ? `AND (changed_at, id) < ($${agent === undefined ? 2 : 3}, $${agent === undefined ? 3 : 4})` : ''}
     ORDER BY changed_at DESC, id DESC LIMIT $1`,
    limit,
    ...(agent === undefined ? [] : [agent]),
    ...(before ? [before.changedAt, before.id] : []),
  );
  return rows.map(recordOf);
}

export async function find(sql: Sql, options: FindOptions): Promise<FoundPage> {
  const { from, principal } = options;
  const { rows, next } = await findPages<Row & FindRow>(options, {
    rows: (limit) => findRows(sql, from, principal, limit),
    userEvents: (row, after) => userEvents(sql, row.key, after),
  });
  return { records: rows.map(recordOf), next };
}

// The cursor of a page names the last row that was read, so the query has no rows of other owners.
async function* findRows(
  sql: Sql,
  from: FindCursor | undefined,
  principal: string | undefined,
  limit: number,
): AsyncGenerator<Row & FindRow> {
  let cursor: Pick<FindCursor, 'changedAt' | 'id'> | undefined = from;
  let comparison = from?.turnId === undefined ? '<' : '<=';
  for (let left = limit; left > 0; ) {
    const size = Math.min(left, ROW_PAGE);
    const values: Value[] = [size];
    const add = (value: Value): string => `$${values.push(value)}`;
    const rows: Row[] = await sql.all<Row>(
      `SELECT ${COLUMNS} FROM conversation WHERE ${
        cursor ? `(changed_at, id) ${comparison} (${add(cursor.changedAt)}, ${add(cursor.id)})` : 'true'
      } ${principal === undefined ? '' : `AND principal = ${add(principal)} AND trashed_at = 0`}
       ORDER BY changed_at DESC, id DESC LIMIT $1`,
      ...values,
    );
    for (const row of rows) {
      yield {
        ...row,
        publicId: row.public_id,
        changedAt: row.changed_at,
        lastOutcome: row.last_outcome,
        isEphemeral: row.is_ephemeral,
        isTrashed: row.trashed_at > 0,
      };
    }
    const last = rows.at(-1);
    if (!last || rows.length < size) return;
    cursor = { changedAt: last.changed_at, id: last.id };
    comparison = '<';
    left -= rows.length;
  }
}

async function* userEvents(sql: Sql, key: number, after: string | undefined): AsyncGenerator<UserEvent> {
  if (after === undefined) {
    const started = await sql.get<{ kind: UserEvent['kind']; body: string }>(
      'SELECT kind, body FROM event WHERE conversation = $1 AND seq = 1',
      key,
    );
    // Another process may have removed it.
    if (started) yield { ...started, turnId: '' };
  }
  for (let last = after ?? ''; ; ) {
    const rows: UserEvent[] = await sql.all<UserEvent>(
      `SELECT event.kind, turn.turn_id AS "turnId", event.body FROM turn
       JOIN event ON event.conversation = turn.conversation AND event.seq = turn.accepted_seq
       WHERE turn.conversation = $1 AND turn.turn_id > $2 ORDER BY turn.turn_id LIMIT $3`,
      key,
      last,
      EVENT_PAGE,
    );
    yield* rows;
    if (rows.length < EVENT_PAGE) return;
    last = rows.at(-1)!.turnId;
  }
}
