// Removes conversations: to the trash and back, and for good. Candidates are locked as they are found; one that another transaction
// has locked is in use and skipped.
import { FabricError } from '@fame-fabric/shared';
import type { StoredState } from '../store.ts';
import type { Value } from './connection.ts';
import { livingOf } from './living.ts';
import { COLUMNS, isLeased, type Row } from './rows.ts';
import type { Transaction } from './transaction.ts';

/** Owner whose open conversations are never removed to make room. */
export const OPERATOR = 'local';

/** A locked conversation that may be removed. */
export interface Candidate extends Row {
  /** True if a living writer works on it. */
  readonly isHeld: boolean;
}

const HAS_OPEN_TURN = `EXISTS (SELECT 1 FROM turn WHERE turn.conversation = conversation.key AND turn.state = 'open')`;
export const IS_IDLE = `(dormant_fence = fence OR NOT ${HAS_OPEN_TURN})`;

/** Locks and returns conversations. `condition` ends with the order and the limit. */
export async function candidates(
  tx: Transaction,
  condition: string,
  ...values: Value[]
): Promise<readonly Candidate[]> {
  const rows = await tx.sql.all<Row & { has_open: boolean }>(
    `SELECT ${COLUMNS}, ${HAS_OPEN_TURN} AS has_open FROM conversation WHERE ${condition} FOR UPDATE OF conversation SKIP LOCKED`,
    ...values,
  );
  return markHeld(tx, rows);
}

/**
 * A living writer works on a conversation if it has the lease, or if turns are open that it has not released: after a forward jump of
 * the clock the lease seems expired until the writer renews it.
 */
async function markHeld(
  tx: Transaction,
  rows: readonly (Row & { has_open: boolean })[],
): Promise<Candidate[]> {
  const isClaimed = (row: Row & { has_open: boolean }): boolean =>
    isLeased(row, tx.now) || (row.lease_until !== 0 && row.has_open);
  const claimed = rows.filter(isClaimed);
  const living = await livingOf(
    tx.sql,
    claimed.map(({ holder }) => holder),
  );
  return rows.map((row) => ({ ...row, isHeld: isClaimed(row) && living.has(row.holder) }));
}

/** Moves conversations to the trash. */
export async function moveToTrash(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.sql.run(
    `UPDATE conversation SET trashed_at = $2, trashed_running_ms = (SELECT running_ms FROM store_time)
     WHERE key = ANY($1::bigint[])`,
    rows.map(({ key }) => key),
    Math.max(1, tx.now),
  );
  for (const { principal, chars } of rows) if (principal !== OPERATOR) tx.addToOwner(principal, -chars);
}

/** Deletes conversations with all that belongs to them. */
export async function deleteRows(tx: Transaction, rows: readonly Row[]): Promise<void> {
  if (rows.length === 0) return;
  const keys = rows.map(({ key }) => key);
  for (const table of ['event', 'turn', 'acquisition', 'retry'])
    await tx.sql.run(`DELETE FROM ${table} WHERE conversation = ANY($1::bigint[])`, keys);
  await tx.sql.run('DELETE FROM conversation WHERE key = ANY($1::bigint[])', keys);
  for (const { id, principal, chars, trashed_at: trashedAt } of rows) {
    tx.addBytes(-chars);
    if (trashedAt === 0 && principal !== OPERATOR) tx.addToOwner(principal, -chars);
    tx.dropRow(id);
  }
}

export async function trash(tx: Transaction, id: string): Promise<boolean> {
  const row = tx.row(id);
  if (!row) return false;
  await assertFree(tx, row);
  await moveToTrash(tx, [row]);
  row.trashed_at = Math.max(1, tx.now);
  return true;
}

export async function restore(tx: Transaction, id: string): Promise<boolean> {
  const row = tx.trashedRow(id);
  if (!row) return false;
  await tx.sql.run(
    `UPDATE conversation SET trashed_at = 0, trashed_running_ms = 0, public_id = CASE WHEN EXISTS (
       SELECT 1 FROM conversation other WHERE other.public_id = conversation.public_id AND other.agent = conversation.agent
         AND other.principal = conversation.principal AND other.trashed_at = 0) THEN id ELSE public_id END
     WHERE key = $1`,
    row.key,
  );
  if (row.principal !== OPERATOR) tx.addToOwner(row.principal, row.chars);
  // Its public id may have changed.
  tx.dropRow(id);
  return true;
}

export async function remove(tx: Transaction, id: string): Promise<boolean> {
  const row = tx.row(id) ?? tx.trashedRow(id);
  if (!row) return false;
  await assertFree(tx, row);
  await deleteRows(tx, [row]);
  return true;
}

/** Renames a conversation in the trash, so that another one can have its id. */
export async function freeId(tx: Transaction, id: string): Promise<void> {
  await tx.sql.run(
    `UPDATE conversation SET id = id || '~' || substr(md5(random()::text || clock_timestamp()::text), 1, 12)
     WHERE id = $1 AND trashed_at > 0`,
    id,
  );
  tx.dropRow(id);
}

async function assertFree(tx: Transaction, row: Row): Promise<void> {
  const open = await tx.sql.get<{ has_open: boolean }>(
    `SELECT ${HAS_OPEN_TURN} AS has_open FROM conversation WHERE key = $1`,
    row.key,
  );
  const [candidate] = await markHeld(tx, [{ ...row, has_open: open!.has_open }]);
  if (!candidate!.isHeld) return;
  throw new FabricError(
    'STORE_CONFLICT',
    'An agent holds this conversation. End the conversation first, or stop the agent.',
  );
}

/** Conversations that a sweep moved to the trash. */
export type Trashed = { readonly id: string; readonly state: StoredState }[];
