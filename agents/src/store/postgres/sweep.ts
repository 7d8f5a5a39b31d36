// One page of a sweep: expired conversations go to the trash, ended ones while the store is too large, and old ones are deleted from
// the trash.
import { DEAD_MS, OUTCOME_MS } from '../agent-store.ts';
import { RETRY_MS } from '../retry.ts';
import type { SweepOptions, SweepReport } from '../store.ts';
import { type Candidate, candidates, deleteRows, moveToTrash, type Trashed } from './removal.ts';
import type { Transaction } from './transaction.ts';

/** Characters after which one sweep deletes no more, so that turns wait for milliseconds only. */
const MAX_DELETED_CHARS = 8_388_608;
/** Retry keys and requests that one sweep deletes. */
const MAX_DELETED = 1_000;
const MAX_EMPTY_OWNERS = 100;

export const ENDED = `trashed_at = 0 AND state IN ('completed', 'canceled')`;

export async function sweep(tx: Transaction, options: SweepOptions): Promise<SweepReport> {
  const { expiredBefore, trashedBefore, ephemeralMs, maxBytes = 0, limit = 200 } = options;
  const trashed: Trashed = [];
  const trashUntil = async (
    rows: readonly Candidate[],
    isEnough: (row: Candidate) => boolean,
  ): Promise<void> => {
    const chosen: Candidate[] = [];
    for (const row of rows) {
      if (trashed.length >= limit) break;
      if (row.isHeld) continue;
      if (isEnough(row)) break;
      chosen.push(row);
      trashed.push({ id: row.id, state: row.state });
    }
    await moveToTrash(tx, chosen);
  };
  if (expiredBefore !== undefined) {
    const expired = 'changed_at < $1 AND trashed_at = 0 ORDER BY changed_at, key LIMIT $2';
    await trashUntil(await candidates(tx, expired, Math.ceil(expiredBefore), limit * 2), () => false);
  }
  if (maxBytes > 0 && tx.bytes > maxBytes) {
    let excess = tx.bytes - (await trashChars(tx)) - maxBytes;
    const ended = `${ENDED} ORDER BY (principal <> 'anonymous'), changed_at LIMIT $1`;
    await trashUntil(await candidates(tx, ended, limit * 2), ({ chars }) => {
      if (excess <= 0) return true;
      excess -= chars;
      return false;
    });
  }
  let deleted = 0;
  let deletedChars = 0;
  const remove = async (rows: readonly Candidate[]): Promise<void> => {
    const chosen: Candidate[] = [];
    for (const row of rows) {
      if (deletedChars >= MAX_DELETED_CHARS || deleted >= limit) break;
      chosen.push(row);
      deleted += 1;
      deletedChars += row.chars;
    }
    await deleteRows(tx, chosen);
  };
  if (ephemeralMs !== undefined) {
    // After a backward step of the clock a change is in the future.
    const ended = `is_ephemeral AND (changed_at <= $1 OR changed_at >= $2)
      AND (trashed_at > 0 OR state IN ('completed', 'canceled')) ORDER BY changed_at LIMIT $3`;
    const rows = await candidates(tx, ended, tx.now - ephemeralMs, tx.now + ephemeralMs, limit * 2);
    await remove(rows.filter(({ isHeld }) => !isHeld));
  }
  if (trashedBefore) {
    const old = 'trashed_at > 0 AND trashed_at < $1 AND trashed_running_ms < $2 ORDER BY trashed_at LIMIT $3';
    await remove(await candidates(tx, old, trashedBefore.at, trashedBefore.runningMs, limit));
  }
  const deletedRetries = await tx.sql.run(
    'DELETE FROM retry WHERE (agent, principal, key) IN (SELECT agent, principal, key FROM retry WHERE at <= $1 LIMIT $2)',
    tx.now - RETRY_MS,
    MAX_DELETED,
  );
  // Sweeps by age are on hold while the clock may be wrong.
  const deletedRequests = trashedBefore ? await sweepRequests(tx) : 0;
  await deleteEmptyOwners(tx);
  await deleteOldBatches(tx);
  const isDone =
    trashed.length < limit &&
    deleted < limit &&
    deletedChars < MAX_DELETED_CHARS &&
    deletedRetries < MAX_DELETED &&
    deletedRequests < MAX_DELETED;
  return { trashed, deleted, isDone, bytes: tx.bytes };
}

/** Size of the trash, in characters. */
export async function trashChars(tx: Transaction): Promise<number> {
  const row = await tx.sql.get<{ chars: number }>(
    'SELECT coalesce(sum(chars), 0)::bigint AS chars FROM conversation WHERE trashed_at > 0',
  );
  return row!.chars;
}

/** Deletes outcomes and dead requests whose time has passed. */
async function sweepRequests(tx: Transaction): Promise<number> {
  const row = await tx.sql.get<{ deleted: number }>(
    `WITH old AS (
       DELETE FROM agent_request WHERE key IN (
         SELECT key FROM agent_request WHERE state <> 'open' AND changed_at <= $1 AND (state <> 'dead' OR changed_at <= $2)
         ORDER BY changed_at LIMIT $3 FOR UPDATE SKIP LOCKED)
       RETURNING agent, params_chars + outcome_chars AS chars
     ), sums AS (
       SELECT agent, count(*) AS requests, sum(chars)::bigint AS chars FROM old GROUP BY agent
     ), changed AS (
       UPDATE agent_usage SET requests = agent_usage.requests - sums.requests,
         request_chars = agent_usage.request_chars - sums.chars
       FROM sums WHERE agent_usage.agent = sums.agent
     )
     SELECT count(*) AS deleted FROM old`,
    tx.now - OUTCOME_MS,
    tx.now - DEAD_MS,
    MAX_DELETED,
  );
  return row!.deleted;
}

/** Deletes the rows of owners whose sizes add up to zero. Only locked rows count, because other transactions may add to the others. */
async function deleteEmptyOwners(tx: Transaction): Promise<void> {
  await tx.sql.run(
    `WITH locked AS (
       SELECT principal, slot, chars FROM owner
       WHERE principal IN (SELECT principal FROM owner GROUP BY principal HAVING sum(chars) = 0 LIMIT $1)
       FOR UPDATE SKIP LOCKED
     ), empty AS (SELECT principal FROM locked GROUP BY principal HAVING sum(chars) = 0)
     DELETE FROM owner USING locked, empty
     WHERE owner.principal = locked.principal AND owner.slot = locked.slot AND locked.principal = empty.principal`,
    MAX_EMPTY_OWNERS,
  );
}

/** Deletes the rows of batches that are older than an hour and whose writers are gone. */
async function deleteOldBatches(tx: Transaction): Promise<void> {
  await tx.sql.run(
    `DELETE FROM batch WHERE (holder, lane) IN (
       SELECT holder, lane FROM batch WHERE committed_at < now() - interval '1 hour'
         AND NOT EXISTS (SELECT 1 FROM writer WHERE writer.holder = batch.holder)
       LIMIT $1 FOR UPDATE SKIP LOCKED)`,
    MAX_DELETED,
  );
}
