// Exit codes, the same for every process.
import type { ErrorCode } from '../errors/codes.ts';
import { isFabricError } from '../errors/error.ts';

/** Sources: 69 is EX_UNAVAILABLE of sysexits.h, 124 is from timeout(1), 130 and 143 are a shell's codes for SIGINT and SIGTERM. */
export const EXIT = Object.freeze({
  ok: 0,
  failure: 1,
  usage: 2,
  unreachable: 69,
  timeout: 124,
  interrupted: 130,
  terminated: 143,
});

/** Exit codes by error code. Every other error exits with `EXIT.failure`. */
const EXIT_CODES: Partial<Record<string, number>> = {
  CONFIG_INVALID: EXIT.usage,
  ADDRESS_INVALID: EXIT.usage,
  LINK_TIMEOUT: EXIT.unreachable,
  LINK_REFUSED: EXIT.unreachable,
  LINK_CLOSED: EXIT.unreachable,
  NO_ROUTE: EXIT.unreachable,
  NODE_GONE: EXIT.unreachable,
  CALL_TIMEOUT: EXIT.timeout,
  TURN_TIMEOUT: EXIT.timeout,
  CALL_CANCELLED: EXIT.interrupted,
} satisfies Partial<Record<ErrorCode, number>>;

/** Returns the exit code of a process that ends because of `error`. */
export function exitCodeOf(error: unknown): number {
  if (!isFabricError(error)) return EXIT.failure;
  // The setting is valid, and another process has the port now.
  if (error.details?.reason === 'port-taken') return EXIT.failure;
  return EXIT_CODES[error.code] ?? EXIT.failure;
}
