// The error class of Fame Fabric. Its codes are in `codes.ts`.
import { ERRORS, type ErrorCode } from './codes.ts';

export interface FabricErrorOptions {
  /** Overrides the entry of the table for this one error. */
  readonly retryable?: boolean | undefined;
  /** Plain JSON that helps the caller. It travels on the wire: no secrets, no message bodies. */
  readonly details?: Record<string, unknown> | undefined;
  /** The error that was caught. It stays in this process and its log. */
  readonly cause?: unknown;
}

/** The error class of the fabric. Match `code`; `message` is for people. Stacks and causes never travel. */
export class FabricError extends Error {
  override readonly name = 'FabricError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details?: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: FabricErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? ERRORS[code].retryable;
    if (options.details) this.details = options.details;
  }
}

/** True if `error` is a FabricError, of that code if one is given. */
export const isFabricError = (error: unknown, code?: ErrorCode): error is FabricError =>
  error instanceof FabricError && (code === undefined || error.code === code);
