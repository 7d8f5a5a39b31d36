// Errors of PostgreSQL and of the connection to it: the ones after which another attempt may succeed, and the error for the caller.
import { FabricError } from '@fame-fabric/shared';

/** The SQLSTATE of an error that the server reported; undefined for any other error. */
export const sqlState = (error: unknown): string | undefined => {
  const { severity, code } = (error ?? {}) as { severity?: unknown; code?: unknown };
  return severity !== undefined && typeof code === 'string' ? code : undefined;
};

// https://www.postgresql.org/docs/current/errcodes-appendix.html
const LOST = new Set([
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now: the server starts or recovers
  '57P05', // idle_session_timeout
  '25P03', // idle_in_transaction_session_timeout
  '25006', // read_only_sql_transaction: the server is a standby since a failover
  '53300', // too_many_connections
]);

/** True if the connection is of no more use, and another one may be. */
export function isLost(error: unknown): boolean {
  if (error instanceof FabricError || error instanceof TypeError) return false;
  const state = sqlState(error);
  return state === undefined || state.startsWith('08') || LOST.has(state);
}

/** True if the server exists and accepts no connections yet. */
export const isStarting = (error: unknown): boolean => sqlState(error) === '57P03';

const CONTENTION = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '55P03', // lock_not_available
  '57014', // query_canceled, by the statement timeout
  '23505', // unique_violation: another writer was faster
]);

/** True if another transaction was in the way, so that the same operations may succeed now. */
export const isContention = (error: unknown): boolean => CONTENTION.has(sqlState(error) ?? '');

/** Causes and fixes of errors of the server, by SQLSTATE or its first two characters. */
const CAUSES: Readonly<Record<string, string>> = {
  '28': 'the server refuses the user or the password; correct FAME_STORE_URL',
  '3D000': 'the database does not exist; create it with createdb, or correct FAME_STORE_URL',
  '42501':
    'the user lacks a permission; grant it CREATE on the database, or make it the owner of the schema fame',
  '53100': 'the disk of the database server is full; free space on it',
  '53200': 'the database server is out of memory',
  '53300': 'the server has reached its max_connections; raise it, or start fewer agents',
  '55P03':
    'another transaction holds its lock for too long; if the server has a synchronous standby, check that it is connected',
  '57P03': 'the database server is starting or recovering',
  '25006': 'the server accepts no writes; name the primary in FAME_STORE_URL',
};

function causeOf(error: unknown): string {
  const state = sqlState(error);
  if (state !== undefined)
    return CAUSES[state] ?? CAUSES[state.slice(0, 2)] ?? `the database server reports the error ${state}`;
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  const reason = code === undefined ? '' : ` (${code})`;
  return `the database server cannot be reached${reason}; start it, or correct FAME_STORE_URL`;
}

const codeOf = (error: unknown): 'STORE_FULL' | 'STORE_UNAVAILABLE' =>
  sqlState(error) === '53100' ? 'STORE_FULL' : 'STORE_UNAVAILABLE';

/** Maps an error of a running store. Its message names neither host nor user, because it may travel to a caller. */
export const runningFault = (error: unknown): FabricError =>
  error instanceof FabricError
    ? error
    : new FabricError(codeOf(error), `The conversation store failed: ${causeOf(error)}.`, { cause: error });

/** Maps an error at the start. Its message has the place of the store, because it is for the operator. */
export const openingFault = (error: unknown, place: string): FabricError =>
  error instanceof FabricError
    ? error
    : new FabricError(codeOf(error), `The store ${place} cannot be opened: ${causeOf(error)}.`, {
        cause: error,
      });

/** The error of every operation after `close`. */
export const closedFault = (): FabricError =>
  new FabricError('STORE_UNAVAILABLE', 'The conversation store is closed.');
