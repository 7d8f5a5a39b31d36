// Checks which writers live. A living writer has a session that holds an advisory lock with its number, which the server releases
// when the process or its machine ends. While the writers return after a restart of the server, all of them count as living.
import type { Sql } from './connection.ts';
import { WRITER_LOCK } from './transaction.ts';

/** Time that writers have to return after a start of the server. */
const RETURN = `interval '3 seconds'`;
/** Time without a sign of life after which the row of a writer without a session is deleted. */
const SILENCE = `interval '1500 milliseconds'`;

const HAS_SESSION = `(number::oid IN (SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = ${WRITER_LOCK}
  AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
  OR pg_postmaster_start_time() > clock_timestamp() - ${RETURN})`;

/** Returns the living ones of some holders. */
export async function livingOf(sql: Sql, holders: Iterable<string>): Promise<ReadonlySet<string>> {
  const asked = [...new Set(holders)].filter((holder) => holder !== '');
  if (asked.length === 0) return new Set();
  const rows = await sql.all<{ holder: string }>(
    `SELECT holder FROM writer WHERE holder = ANY($1) AND ($2 OR ${HAS_SESSION})`,
    asked,
    !sql.knowsLiving,
  );
  return new Set(rows.map(({ holder }) => holder));
}

/**
 * Deletes the rows of dead writers. Returns true if there were some. Their rows in `batch` stay: a paused process may still have to
 * check a commit.
 */
export async function deleteDead(sql: Sql): Promise<boolean> {
  if (!sql.knowsLiving) return false;
  const dead = await sql.all(
    `DELETE FROM writer WHERE seen_at < clock_timestamp() - ${SILENCE} AND NOT ${HAS_SESSION} RETURNING holder`,
  );
  return dead.length > 0;
}
