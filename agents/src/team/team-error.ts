// Errors of a running team carry the path of the message and the usage so far.
import { type ErrorCode, FabricError } from '@fame-fabric/shared';
import type { UsageReport } from '../model/usage.ts';

export interface TeamErrorFacts {
  /** The agents that had the message, in order. */
  path: readonly string[];
  usage: UsageReport;
}

export class TeamError extends FabricError {
  readonly path: readonly string[];
  readonly usage: UsageReport;

  constructor(
    code: ErrorCode,
    message: string,
    facts: TeamErrorFacts,
    details: Record<string, unknown> = {},
    cause?: unknown,
  ) {
    const { calls, total_tokens, usd } = facts.usage.total;
    super(code, message, {
      details: { path: facts.path, model_calls: calls, total_tokens, usd, ...details },
      ...(cause === undefined ? {} : { cause }),
    });
    this.path = facts.path;
    this.usage = facts.usage;
  }
}
