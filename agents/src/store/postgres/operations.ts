// The operations of the store that write single conversations and the time, quotas and secrets of the store. Each runs in a
// transaction that has locked the names and conversations of its job.
import { randomBytes } from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import { changed, type QuotaChange, type QuotaCounter, type QuotaRefusal, refusalOf } from '../quota.ts';
import { joins } from '../retry.ts';
import {
  type AcquiredConversation,
  type CreatedConversation,
  FIRST_EPOCH,
  type JournalEvent,
  type NewConversation,
  type RetryRequest,
  type TurnPlace,
} from '../store.ts';
import { readTime, type StoreTime, type TimeRecord, timeOf } from '../store-time.ts';
import { suffixedId } from '../stored-id.ts';
import { type GivenEvent, type RetryRow, retriedTurnOf, SELECT_RETRIES } from './appends.ts';
import { type Sql, together } from './connection.ts';
import { livingOf } from './living.ts';
import { readEvents, readHistory } from './reads.ts';
import { freeId } from './removal.ts';
import type { Room } from './room.ts';
import { COLUMNS, type EventRow, eventOf, isLeased, type Row, recordOf } from './rows.ts';
import type { Transaction } from './transaction.ts';

/** A new conversation with its bodies as JSON. */
export interface GivenConversation extends Omit<NewConversation, 'started' | 'totals'> {
  readonly started: GivenEvent;
  readonly totals: string;
}

const selectOwned = `SELECT ${COLUMNS} FROM conversation
  WHERE public_id = $1 AND agent = $2 AND principal = $3 AND trashed_at = 0`;

export async function create(
  tx: Transaction,
  room: Room,
  holder: string,
  given: GivenConversation,
): Promise<CreatedConversation> {
  const { id: publicId, agent, principal = 'local', started, isAcquired = false } = given;
  const existing = await tx.sql.get<Row>(selectOwned, publicId, agent, principal);
  if (existing) return { created: false, record: recordOf(existing) };
  room.assertNotFull(tx);
  await room.assertOwnerRoom(tx, principal, '', true);
  const isTaken = (id: string) =>
    tx.sql.get('SELECT 1 FROM conversation WHERE id = $1 AND trashed_at = 0', id);
  let id = publicId;
  // Another owner may have chosen the suffixed id as its public one.
  while (await isTaken(id)) id = suffixedId(id, agent, principal);
  await freeId(tx, id);
  const chars = started.json.length;
  const row = await tx.sql.get<Row>(
    `INSERT INTO conversation (id, public_id, agent, principal, shared_with, start_call, state, history_turns, started_at,
       changed_at, last_seq, turns, chars, totals, holder, lease_until, fence, dormant_fence, trashed_at, trashed_running_ms,
       forked_from, forked_at, is_ephemeral, last_outcome)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, 0, $11, $12, $13, 0, $14, -1, 0, 0, $15, $16, $17, '')
     RETURNING ${COLUMNS}`,
    id,
    publicId,
    agent,
    principal,
    given.sharedWith ?? [],
    given.startCallId,
    given.state ?? 'working',
    given.historyTurns,
    started.at,
    tx.now,
    chars,
    given.totals,
    isAcquired ? holder : '',
    isAcquired ? FIRST_EPOCH : 0,
    given.forkedFrom?.conversationId ?? '',
    given.forkedFrom?.turnId ?? '',
    given.isEphemeral ?? false,
  );
  await tx.sql.run(
    `INSERT INTO event (conversation, seq, at, kind, turn_id, chars, approval, body) VALUES ($1, 1, $2, $3, $4, $5, NULL, $6)`,
    row!.key,
    started.at,
    started.kind,
    started.turnId ?? null,
    chars,
    started.json,
  );
  tx.addBytes(chars);
  if (principal !== 'local') tx.addToOwner(principal, chars);
  tx.addRow(row!);
  const record = recordOf(row!);
  if (!isAcquired) return { created: true, record };
  await tx.sql.run('INSERT INTO acquisition VALUES ($1, $2, 2)', row!.key, FIRST_EPOCH);
  return { created: true, record, fence: { holder, epoch: FIRST_EPOCH } };
}

export async function acquire(
  tx: Transaction,
  holder: string,
  id: string,
  leaseMs: number,
): Promise<AcquiredConversation | undefined> {
  const row = tx.row(id);
  if (!row) return undefined;
  if (row.holder !== holder && isLeased(row, tx.now) && (await livingOf(tx.sql, [row.holder])).size > 0) {
    throw new FabricError('STORE_CONFLICT', 'Another process is working on this conversation.', {
      details: { retryAfterMs: row.lease_until - tx.now, holder: row.holder },
    });
  }
  const record = recordOf(row);
  const epoch = row.fence + 1;
  const [, , started, history, open] = await together<
    [unknown, unknown, EventRow | undefined, JournalEvent[][], JournalEvent[][]]
  >([
    tx.sql.run(
      'UPDATE conversation SET holder = $2, lease_until = $3, fence = $4 WHERE key = $1',
      row.key,
      holder,
      tx.now + leaseMs,
      epoch,
    ),
    tx.sql.run('INSERT INTO acquisition VALUES ($1, $2, $3)', row.key, epoch, row.last_seq + 1),
    tx.sql.get<EventRow>(
      'SELECT seq, at, kind, turn_id, body, NULL AS fence, NULL AS first_seq FROM event WHERE conversation = $1 AND seq = 1',
      row.key,
    ),
    readHistory(tx.sql, row),
    readEvents(tx.sql, row.key),
  ]);
  Object.assign(row, { holder, lease_until: tx.now + leaseMs, fence: epoch });
  return { record, fence: { holder, epoch }, started: eventOf(started!), history, open };
}

export async function renew(
  tx: Transaction,
  holder: string,
  ids: readonly string[],
  leaseMs: number,
): Promise<string[]> {
  const held = ids.filter((id) => tx.row(id)?.holder === holder);
  if (held.length === 0) return [];
  const until = tx.now + leaseMs;
  await tx.sql.run(
    'UPDATE conversation SET lease_until = $2 WHERE key = ANY($1::bigint[])',
    held.map((id) => tx.row(id)!.key),
    until,
  );
  for (const id of held) tx.row(id)!.lease_until = until;
  return held;
}

export async function retried(tx: Transaction, request: RetryRequest): Promise<TurnPlace | undefined> {
  const { conversationId, turnId, agent, principal, key } = request;
  const [own, row] = await together<[unknown, RetryRow | undefined]>([
    tx.sql.get(
      `SELECT 1 FROM turn JOIN conversation ON conversation.key = turn.conversation
       WHERE conversation.id = $1 AND conversation.agent = $2 AND trashed_at = 0 AND turn_id = $3`,
      conversationId,
      agent,
      turnId,
    ),
    tx.sql.get<RetryRow>(SELECT_RETRIES, [agent], [principal], [key]),
  ]);
  if (own) return { conversationId, turnId };
  if (!row || !joins(retriedTurnOf(row), request, tx.now)) return undefined;
  if (request.count === 0 && row.joined_by === '') {
    await tx.sql.run(
      'UPDATE retry SET joined_by = $4 WHERE agent = $1 AND principal = $2 AND key = $3',
      agent,
      principal,
      key,
      turnId,
    );
  }
  return { conversationId: row.id, turnId: row.turn_id };
}

/** Counters of ended periods that one change deletes. */
const MAX_DELETED = 100;

export async function changeQuota(
  { sql, now }: Transaction,
  principal: string,
  changes: readonly QuotaChange[],
): Promise<QuotaRefusal | undefined> {
  const rows = await sql.all<QuotaCounter & { unit: string; ends_at: number }>(
    'SELECT unit, ends_at, used, reserved FROM quota WHERE principal = $1 AND ends_at = ANY($2::bigint[])',
    principal,
    changes.map(({ endsAt }) => endsAt),
  );
  const counters = new Map<string, QuotaCounter>(rows.map((row) => [`${row.unit} ${row.ends_at}`, row]));
  const counterOf = ({ unit, endsAt }: QuotaChange): QuotaCounter =>
    counters.get(`${unit} ${endsAt}`) ?? { used: 0, reserved: 0 };
  for (const change of changes) {
    const refusal = refusalOf(change, counterOf(change));
    if (refusal) return refusal;
  }
  for (const change of changes)
    counters.set(`${change.unit} ${change.endsAt}`, changed(counterOf(change), change));
  await together([
    sql.run(
      `DELETE FROM quota WHERE (principal, unit, ends_at) IN (
         SELECT principal, unit, ends_at FROM quota WHERE ends_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`,
      now,
      MAX_DELETED,
    ),
    ...changes.map((change) => {
      const { used, reserved } = counterOf(change);
      return sql.run(
        `INSERT INTO quota VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (principal, unit, ends_at) DO UPDATE SET used = excluded.used, reserved = excluded.reserved`,
        principal,
        change.unit,
        change.endsAt,
        used,
        reserved,
      );
    }),
  ]);
  return undefined;
}

interface TimeRow {
  wall_at: number;
  running_ms: number;
  held_until_ms: number;
  keeper: string;
  last_change: number;
}
const recordOfTime = (row: TimeRow): TimeRecord => ({
  wallAt: row.wall_at,
  runningMs: row.running_ms,
  heldUntilMs: row.held_until_ms,
});
const SELECT_TIME = `SELECT wall_at, running_ms, held_until_ms, keeper,
  CASE WHEN wall_at = 0 THEN (SELECT coalesce(max(changed_at), 0) FROM conversation) ELSE 0 END AS last_change FROM store_time`;

export async function keepTime(
  tx: Transaction,
  holder: string,
  elapsedMs: number,
): Promise<StoreTime | undefined> {
  const row = (await tx.sql.get<TimeRow>(SELECT_TIME))!;
  if (row.keeper !== holder && (await livingOf(tx.sql, [row.keeper])).size > 0) return undefined;
  const last = recordOfTime(row);
  // The last change of a conversation stands in for the first record of the time.
  const { record, time } = readTime(
    { ...last, wallAt: last.wallAt || row.last_change },
    tx.now,
    Math.round(elapsedMs),
  );
  await tx.sql.run(
    'UPDATE store_time SET wall_at = $1, running_ms = $2, held_until_ms = $3, keeper = $4',
    record.wallAt,
    record.runningMs,
    record.heldUntilMs,
    holder,
  );
  return time;
}

export const readStoreTime = async (sql: Sql): Promise<StoreTime> =>
  timeOf(recordOfTime((await sql.get<TimeRow>(SELECT_TIME))!));

export async function endHold(tx: Transaction): Promise<void> {
  await tx.sql.run('UPDATE store_time SET held_until_ms = 0');
}

/** Returns a secret of the store, and makes it at the first use. */
export async function sharedSecret(tx: Transaction, name: string): Promise<string> {
  await tx.sql.run(
    'INSERT INTO secret VALUES ($1, $2) ON CONFLICT (name) DO NOTHING',
    name,
    randomBytes(32).toString('base64url'),
  );
  return (await tx.sql.get<{ value: string }>('SELECT value FROM secret WHERE name = $1', name))!.value;
}
