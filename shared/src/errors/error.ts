// The error class of Fame Fabric. Its codes are in `codes.ts`.
import { ERRORS, type ErrorCode } from './codes.ts';

export interface FabricErrorOptions {
  /** @default the value of the error table */
  readonly retryable?: boolean | undefined;
  /**
   * Plain JSON that helps the caller. It travels on the wire: no secrets, no message bodies. Commands print the text `fix` in place of the
   * fix of the error table.
   */
  readonly details?: Record<string, unknown> | undefined;
  /** The caught error. Never sent to other nodes. */
  readonly cause?: unknown;
}

/** Match `code`; `message` is for people. Stacks and causes are never sent to other nodes. */
export class FabricError extends Error {
  override readonly name: string = 'FabricError';
  /** A code of the table, or the agent's own code if this is an AgentError. */
  readonly code: ErrorCode | (string & {});
  readonly retryable: boolean;
  readonly details?: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: FabricErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? ERRORS[code].retryable;
    if (options.details) this.details = options.details;
  }
}

/** True if `error` is a FabricError, with that code if one is given. */
export const isFabricError = (error: unknown, code?: ErrorCode): error is FabricError =>
  error instanceof FabricError && (code === undefined || error.code === code);
