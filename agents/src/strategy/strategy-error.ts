// Errors of strategies carry the replies of the model, for the caller in this process. Replies are content, so no enumerable
// property holds them: loggers and the wire see code, message and details only.
import { type ErrorCode, FabricError, type FabricErrorOptions } from '@fame-fabric/shared';
import type { Usage } from '../model/model.ts';

/** One request to the model and its outcome. */
export interface Attempt {
  readonly outcome: 'ok' | 'no_call' | 'invalid_call' | 'invalid_text';
  readonly text: string | null;
  /** Message of the strategy's parser, for `invalid_text`. It may quote the text. */
  readonly fault?: string | undefined;
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

  /** The attempts, oldest first. */
  get attempts(): readonly Attempt[] {
    return this.#attempts;
  }
}
