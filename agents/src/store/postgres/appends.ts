// The appends of one batch. They are checked in order against the locked conversations, and then written with one statement for all
// tables, so the number of round trips does not depend on the size of the batch.
import { createHash } from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import { joins, MAX_RETRIES } from '../retry.ts';
import {
  type Append,
  type EventBody,
  endOfTurn,
  marksChange,
  type NewEvent,
  type RetryRequest,
  type TurnState,
} from '../store.ts';
import { type Sql, together } from './connection.ts';
import type { Job, Outcome } from './lane.ts';
import type { Room } from './room.ts';
import type { Row } from './rows.ts';
import type { Transaction } from './transaction.ts';

/** An append with its bodies as JSON. They are serialized when the append is made, because the caller may change them later. */
export interface GivenAppend extends Omit<Append, 'events' | 'totals'> {
  readonly events: readonly GivenEvent[];
  readonly totals: string | undefined;
}
export interface GivenEvent extends Omit<NewEvent, 'body'> {
  readonly json: string;
  readonly inHistory: boolean;
  /** Hash of the id of a question. */
  readonly approval: string | null;
}

/** Ids of questions may be long and have any characters, so the index has their hashes. */
export const approvalOf = (callId: string): string =>
  createHash('sha256').update(JSON.stringify(callId)).digest('hex').slice(0, 32);

export const givenEvent = ({ body, ...event }: NewEvent): GivenEvent => ({
  ...event,
  json: JSON.stringify(body),
  inHistory: body.in_history === true,
  approval:
    event.kind === 'approval_requested' && typeof body.call_id === 'string' ? approvalOf(body.call_id) : null,
});

export const givenAppend = ({ events, totals, ...rest }: Append): GivenAppend => ({
  ...rest,
  events: events.map(givenEvent),
  totals: totals && JSON.stringify(totals satisfies EventBody),
});

/** Returns the name to lock for a retry key, so that its turns are accepted one after the other. */
export const retryName = ({ agent, principal, key }: RetryRequest): string =>
  `retry:${JSON.stringify([agent, principal, key])}`;

/** Retry keys that are kept between two checks of their number. */
const RETRIES_PER_CHECK = 64;

interface TurnRow {
  /** Id of its conversation. */
  id: string;
  turn_id: string;
  state: string;
}
interface Change {
  readonly row: Row;
  changedAt: number | null;
}
interface KeptRetry {
  readonly request: RetryRequest;
  readonly conversation: number;
}

/** A turn that a batch accepts, or ends, or both. */
interface WrittenTurn {
  readonly key: number;
  readonly turnId: string;
  /** Seq of its acceptance; 0 if an earlier batch accepted it. */
  readonly acceptedSeq: number;
  state: TurnState;
  endedSeq: number;
  inHistory: boolean;
}

/** The rows that a batch writes. */
class Writes {
  readonly events: { key: number; seq: number; event: GivenEvent }[] = [];
  /** By `nameOf`. */
  readonly turns = new Map<string, WrittenTurn>();
  readonly changes = new Map<number, Change>();
  readonly retries = new Map<string, KeptRetry>();
}

/** One statement for all tables, because each statement costs the client more than the rows. */
const WRITE = `WITH events AS (
    INSERT INTO event (conversation, seq, at, kind, turn_id, chars, approval, body)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::int[], $7::text[], $8::text[])
  ), turns AS (
    SELECT * FROM unnest($9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::boolean[])
      AS t (key, turn_id, state, accepted_seq, ended_seq, in_history)
  ), accepted AS (
    INSERT INTO turn SELECT key, turn_id, state, accepted_seq, ended_seq, in_history FROM turns WHERE accepted_seq > 0
  ), ended AS (
    UPDATE turn SET state = turns.state, ended_seq = turns.ended_seq, in_history = turns.in_history
    FROM turns WHERE turns.accepted_seq = 0 AND turn.conversation = turns.key AND turn.turn_id = turns.turn_id
  )
  UPDATE conversation SET state = c.state, changed_at = coalesce(c.changed_at, conversation.changed_at),
    last_seq = c.last_seq, turns = c.turns, chars = c.chars, totals = c.totals, lease_until = c.lease_until,
    dormant_fence = c.dormant_fence, last_outcome = c.last_outcome
  FROM unnest($15::bigint[], $16::text[], $17::bigint[], $18::bigint[], $19::bigint[], $20::bigint[], $21::text[], $22::bigint[],
      $23::bigint[], $24::text[])
    AS c (key, state, changed_at, last_seq, turns, chars, totals, lease_until, dormant_fence, last_outcome)
  WHERE conversation.key = c.key`;

export class Appends {
  readonly #room: Room;
  #keptRetries = 0;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Reads the turns and retry keys that a batch names. */
  async prefetch(sql: Sql, jobs: readonly Job<GivenAppend>[]): Promise<AppendReads> {
    const appends = jobs.map(({ given }) => given);
    const [turns, retries] = await together<[AppendReads['turns'], AppendReads['retries']]>([
      turnsOf(sql, appends),
      retriesOf(sql, appends),
    ]);
    return { turns, retries };
  }

  async run(
    tx: Transaction,
    jobs: readonly Job<GivenAppend>[],
    reads: AppendReads,
    stopsWhenFull: boolean,
  ): Promise<Outcome[]> {
    const appends = jobs.map(({ given }) => given);
    const writes = new Writes();
    const outcomes: Outcome[] = [];
    for (const append of appends) {
      try {
        await this.#append(tx, append, reads, writes);
        outcomes.push({ value: undefined });
      } catch (error) {
        if (!(error instanceof FabricError)) throw error;
        if (stopsWhenFull && error.code === 'STORE_FULL') break;
        outcomes.push({ fault: error });
      }
    }
    this.#write(tx, writes);
    return outcomes;
  }

  async #append(
    tx: Transaction,
    given: GivenAppend,
    { turns, retries }: AppendReads,
    writes: Writes,
  ): Promise<void> {
    const row = tx.row(given.conversationId);
    const { holder, epoch } = given.fence;
    if (!row || row.fence !== epoch || row.holder !== holder || row.last_seq !== given.after) {
      throw new FabricError('STORE_CONFLICT', 'Another process has acquired the conversation.', {
        details: { lastSeq: row?.last_seq ?? 0 },
      });
    }
    const chars = given.events.reduce((sum, { json }) => sum + json.length, 0);
    this.#room.assertReserve(tx, chars, given.events);
    for (const event of given.events) {
      if (event.kind !== 'turn_accepted') continue;
      this.#room.assertNotFull(tx);
      await this.#room.assertOwnerRoom(tx, row.principal, row.id, false);
      if (turns.has(nameOf(row.id, event.turnId!)))
        throw new FabricError('STORE_CONFLICT', 'The conversation has a turn with that id already.');
    }
    if (given.retry) keepRetry(tx, row, given.retry, retries, writes);
    const change = writes.changes.get(row.key) ?? { row, changedAt: null };
    if (marksChange(given, row.state)) change.changedAt = row.changed_at = tx.now;
    writes.changes.set(row.key, change);
    for (const event of given.events) {
      row.last_seq += 1;
      this.#addEvent(row, event, turns, writes);
    }
    row.chars += chars;
    tx.addBytes(chars);
    if (row.principal !== 'local') tx.addToOwner(row.principal, chars);
    row.state = given.state ?? row.state;
    row.totals = given.totals ?? row.totals;
    row.lease_until = given.leaseMs > 0 ? tx.now + given.leaseMs : 0;
    if (given.isDormant) row.dormant_fence = epoch;
  }

  #addEvent(row: Row, event: GivenEvent, turns: Map<string, string>, writes: Writes): void {
    const { id, key, last_seq: seq } = row;
    writes.events.push({ key, seq, event });
    const turnId = event.turnId ?? '';
    const name = nameOf(id, turnId);
    if (event.kind === 'turn_accepted') {
      row.turns += 1;
      turns.set(name, 'open');
      const open = { state: 'open' as const, endedSeq: 0, inHistory: false };
      writes.turns.set(name, { key, turnId, acceptedSeq: seq, ...open });
    }
    const state = endOfTurn(event.kind);
    if (state === undefined || turns.get(name) !== 'open') return;
    turns.set(name, state);
    row.last_outcome = state;
    const turn = writes.turns.get(name) ?? { key, turnId, acceptedSeq: 0 };
    writes.turns.set(name, { ...turn, state, endedSeq: seq, inHistory: event.inHistory });
  }

  #write(tx: Transaction, { events, turns: named, changes: changed, retries }: Writes): void {
    if (changed.size === 0) return;
    const [turns, changes] = [[...named.values()], [...changed.values()]];
    tx.send(
      tx.sql.run(
        WRITE,
        events.map(({ key }) => key),
        events.map(({ seq }) => seq),
        events.map(({ event }) => event.at),
        events.map(({ event }) => event.kind),
        events.map(({ event }) => event.turnId ?? null),
        events.map(({ event }) => event.json.length),
        events.map(({ event }) => event.approval),
        events.map(({ event }) => event.json),
        turns.map(({ key }) => key),
        turns.map(({ turnId }) => turnId),
        turns.map(({ state }) => state),
        turns.map(({ acceptedSeq }) => acceptedSeq),
        turns.map(({ endedSeq }) => endedSeq),
        turns.map(({ inHistory }) => inHistory),
        changes.map(({ row }) => row.key),
        changes.map(({ row }) => row.state),
        changes.map(({ changedAt }) => changedAt),
        changes.map(({ row }) => row.last_seq),
        changes.map(({ row }) => row.turns),
        changes.map(({ row }) => row.chars),
        changes.map(({ row }) => row.totals),
        changes.map(({ row }) => row.lease_until),
        changes.map(({ row }) => row.dormant_fence),
        changes.map(({ row }) => row.last_outcome),
      ),
    );
    this.#writeRetries(tx, [...retries.values()]);
  }

  #writeRetries(tx: Transaction, kept: readonly KeptRetry[]): void {
    if (kept.length === 0) return;
    tx.send(
      tx.sql.run(
        `INSERT INTO retry SELECT agent, principal, key, conversation, turn_id, $7, is_by_retry, ''
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::boolean[])
           AS r (agent, principal, key, conversation, turn_id, is_by_retry)
         ON CONFLICT (agent, principal, key) DO UPDATE SET conversation = excluded.conversation, turn_id = excluded.turn_id,
           at = excluded.at, is_by_retry = excluded.is_by_retry, joined_by = ''`,
        kept.map(({ request }) => request.agent),
        kept.map(({ request }) => request.principal),
        kept.map(({ request }) => request.key),
        kept.map(({ conversation }) => conversation),
        kept.map(({ request }) => request.turnId),
        kept.map(({ request }) => request.count > 0),
        tx.now,
      ),
    );
    // Checked now and then, because the check reads all keys of the owner.
    for (const { request } of kept) {
      this.#keptRetries += 1;
      if (this.#keptRetries % RETRIES_PER_CHECK !== 0) continue;
      tx.send(
        tx.sql.run(
          `DELETE FROM retry WHERE agent = $1 AND principal = $2 AND at <= (
             SELECT at FROM retry WHERE agent = $1 AND principal = $2 ORDER BY at DESC LIMIT 1 OFFSET $3)`,
          request.agent,
          request.principal,
          MAX_RETRIES,
        ),
      );
    }
  }
}

// Ids have no such character.
const nameOf = (conversationId: string, turnId: string): string => `${conversationId}\0${turnId}`;

/** The rows that a batch of appends reads first. */
interface AppendReads {
  /** States of turns by `nameOf`. */
  readonly turns: Map<string, string>;
  /** Latest turns of retry keys by `retryName`. */
  readonly retries: Map<string, RetryRow>;
}

/** The states of the turns that the appends accept or end. */
async function turnsOf(sql: Sql, appends: readonly GivenAppend[]): Promise<AppendReads['turns']> {
  const wanted = appends.flatMap(({ conversationId, events }) =>
    events
      .filter(({ kind }) => kind === 'turn_accepted' || endOfTurn(kind) !== undefined)
      .map(({ turnId = '' }) => ({ conversationId, turnId })),
  );
  if (wanted.length === 0) return new Map();
  const rows = await sql.all<TurnRow>(
    `SELECT conversation.id, turn.turn_id, turn.state FROM unnest($1::text[], $2::text[]) AS w (id, turn_id)
     JOIN conversation ON conversation.id = w.id
     JOIN turn ON turn.conversation = conversation.key AND turn.turn_id = w.turn_id`,
    wanted.map(({ conversationId }) => conversationId),
    wanted.map(({ turnId }) => turnId),
  );
  return new Map(rows.map((row) => [nameOf(row.id, row.turn_id), row.state]));
}

/** The latest turn of a retry key. */
export interface RetryRow {
  agent: string;
  principal: string;
  key: string;
  /** Id of its conversation. */
  id: string;
  turn_id: string;
  at: number;
  is_by_retry: boolean;
  joined_by: string;
}

export const SELECT_RETRIES = `SELECT r.agent, r.principal, r.key, conversation.id, r.turn_id, r.at, r.is_by_retry, r.joined_by
  FROM unnest($1::text[], $2::text[], $3::text[]) AS w (agent, principal, key)
  JOIN retry r ON r.agent = w.agent AND r.principal = w.principal AND r.key = w.key
  JOIN conversation ON conversation.key = r.conversation AND conversation.trashed_at = 0`;

/** The latest turns of the retry keys of the appends. */
async function retriesOf(sql: Sql, appends: readonly GivenAppend[]): Promise<AppendReads['retries']> {
  const requests = appends.flatMap(({ retry }) => retry ?? []);
  if (requests.length === 0) return new Map();
  const rows = await sql.all<RetryRow>(
    SELECT_RETRIES,
    requests.map(({ agent }) => agent),
    requests.map(({ principal }) => principal),
    requests.map(({ key }) => key),
  );
  return new Map(rows.map((row) => [retryName(row as unknown as RetryRequest), row]));
}

export const retriedTurnOf = (row: RetryRow) => ({
  turnId: row.turn_id,
  at: row.at,
  isByRetry: row.is_by_retry,
  joinedBy: row.joined_by,
});

/** Makes a turn the latest one of its retry key. @throws {STORE_CONFLICT} if the request joins another one */
function keepRetry(
  tx: Transaction,
  { id, key: conversation }: Row,
  request: RetryRequest,
  retries: Map<string, RetryRow>,
  writes: Writes,
): void {
  const name = retryName(request);
  const row = retries.get(name);
  if (row && joins(retriedTurnOf(row), request, tx.now)) {
    throw new FabricError('STORE_CONFLICT', 'There is a turn with that retry key.', {
      details: { isRetry: true },
    });
  }
  const { agent, principal, key, turnId, count } = request;
  const kept = {
    agent,
    principal,
    key,
    id,
    turn_id: turnId,
    at: tx.now,
    is_by_retry: count > 0,
    joined_by: '',
  };
  retries.set(name, kept);
  writes.retries.set(name, { request, conversation });
}
