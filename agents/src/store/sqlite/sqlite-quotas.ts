// The quotas of principals, in SQL. Like the operations in `sqlite-journal.ts`, they run inside a transaction of the caller.
import { changed, type QuotaChange, type QuotaCounter, type QuotaRefusal, refusalOf } from '../quota.ts';
import type { Statements } from './statements.ts';

/** Counters of ended periods that one change deletes. */
const MAX_DELETED = 100;

export function changeQuota(
  sql: Statements,
  now: number,
  principal: string,
  changes: readonly QuotaChange[],
): QuotaRefusal | undefined {
  const counterOf = ({ unit, endsAt }: QuotaChange): QuotaCounter =>
    sql.get<QuotaCounter>(
      'SELECT used, reserved FROM quota WHERE principal = ? AND unit = ? AND ends_at = ?',
      principal,
      unit,
      endsAt,
    ) ?? { used: 0, reserved: 0 };
  for (const change of changes) {
    const refusal = refusalOf(change, counterOf(change));
    if (refusal) return refusal;
  }
  sql.run(
    `DELETE FROM quota WHERE (principal, unit, ends_at) IN (
       SELECT principal, unit, ends_at FROM quota WHERE ends_at <= ? LIMIT ?)`,
    now,
    MAX_DELETED,
  );
  for (const change of changes) {
    const { used, reserved } = changed(counterOf(change), change);
    sql.run(
      'INSERT OR REPLACE INTO quota VALUES (?, ?, ?, ?, ?)',
      principal,
      change.unit,
      change.endsAt,
      used,
      reserved,
    );
  }
  return undefined;
}
