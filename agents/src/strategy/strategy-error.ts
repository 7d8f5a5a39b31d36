// The errors of strategies carry what the model said, for the caller in this process. That is content, so it never stands
// in an enumerable property: loggers and the wire see code, message and details only.
import { type ErrorCode, FabricError, type FabricErrorOptions } from '@fame-fabric/shared';
import type { Usage } from '../model/model.ts';

/** One request to the model and what came of it. */
export interface Attempt {
  readonly outcome: 'ok' | 'no_call' | 'invalid_call';
  readonly text: string | null;
  /** The calls as the model wrote them. */
  readonly calls: readonly { name: string; arguments: string }[];
  readonly usage: Usage;
}

export class StrategyError extends FabricError {
  readonly #attempts: readonly Attempt[];

  constructor(
    code: ErrorCode,
    message: string,
    options: FabricErrorOptions & { attempts?: readonly Attempt[] } = {},
  ) {
    const { attempts = [], ...rest } = options;
    super(code, message, rest);
    this.#attempts = attempts;
  }

  /** What was tried, oldest first. */
  get attempts(): readonly Attempt[] {
    return this.#attempts;
  }
}
