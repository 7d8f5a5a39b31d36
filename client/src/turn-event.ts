// The events of a turn, and the errors after which it may still run.
import { isFabricError } from '@fame-fabric/shared';

export interface TurnUsage {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
}

/**
 * An event of a streamed turn: pieces of text as they arrive, and at the end `done` with the whole text. `seq` is the position
 * of the event in the journal of the conversation, for agents that keep one.
 */
export type TurnEvent =
  | { type: 'text'; text: string; seq?: number }
  | { type: 'tool_call'; id?: string; name?: string; args?: Record<string, unknown>; seq?: number }
  | { type: 'tool_result'; id?: string; name?: string; ok?: boolean; seq?: number }
  /** The agent restarts its answer; only the first `keep` characters of the text so far remain valid. */
  | { type: 'restart'; keep: number; seq?: number }
  | { type: 'done'; text: string; usage?: TurnUsage; model?: string; seq?: number };

/** Codes for a temporarily lost agent or connection: the same request may succeed later. */
const AWAY: ReadonlySet<string> = new Set(['NODE_GONE', 'LINK_CLOSED', 'LINK_DRAINING', 'STORE_CONFLICT']);

/** True if `code` means that the agent, or the connection to it, is temporarily lost. */
export const isAwayCode = (code: string): boolean => AWAY.has(code);

/** True if a turn that failed with `error` may still run at the agent. The same turn id then continues the same turn. */
export const isUndecided = (error: unknown): boolean =>
  isFabricError(error) &&
  (isAwayCode(error.code) || error.code === 'NO_ROUTE' || error.code === 'LINK_TIMEOUT');
