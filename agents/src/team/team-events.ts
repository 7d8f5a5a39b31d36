// Events of a team while it works, and the result of a turn.
import type { AssistantMessage, FinishReason, ModelMessage, Usage } from '../model/model.ts';
import type { ParsedToolCall } from '../model/stream/split-tool-stream.ts';
import type { UsageReport } from '../model/usage.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';

export type TeamEvent =
  /** An agent gets the message. */
  | { type: 'agent'; name: string; hop: number }
  | { type: 'model_called'; agent: string; model: string; step: number; messages: readonly ModelMessage[] }
  | {
      type: 'model_replied';
      agent: string;
      model: string;
      /** From 1, over all agents. */
      step: number;
      message: AssistantMessage;
      finish: FinishReason;
      usage: Usage;
    }
  | { type: 'usage'; agent: string; model: string; usage: Usage }
  /** Text for the user. The pieces together are the text of the result. */
  | { type: 'text'; text: string; agent: string }
  | { type: 'tool_call'; agent: string; call: ParsedToolCall }
  /** `content` is the tool message for the agent. */
  | {
      type: 'tool_result';
      agent: string;
      id: string;
      name: string;
      ok: boolean;
      content: string;
    }
  | { type: 'handoff'; from: string; to: string; value: string; extras: JsonObject }
  | { type: 'ignored'; reason: string; agent: string }
  | { type: 'done'; result: TeamResult };

interface Common {
  /** The agent that ended the turn. */
  readonly agent: string;
  /** The agents that had the message, in order. */
  readonly path: readonly string[];
  readonly usage: UsageReport;
  /** The messages up to and with this turn, without directives: the input of the next turn. */
  readonly history: readonly ModelMessage[];
  /** The messages of this turn alone, from the user's on. */
  readonly turn: readonly ModelMessage[];
  /** The last model that was asked. */
  readonly model: string;
}

export type TeamResult = Common &
  (
    | { readonly kind: 'text'; readonly text: string }
    | { readonly kind: 'silent' }
    | { readonly kind: 'ignored'; readonly reason: string; readonly extras: JsonObject }
  );
