// Data that is sent with a message to an agent on another node. The counters (handoffs, visited agents, model calls, remaining budget)
// make limits hold across nodes and are part of the envelope's metadata. The history is part of the payload that starts the remote
// conversation.
import { type Logger, silentLog } from '@fame-fabric/shared';
import { z } from 'zod';
import type { ModelMessage, Usage } from '../model/model.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';

/** Prefix of a target that is a capability instead of an address. */
export const CAPABILITY_PREFIX = 'capability:';

/** Keys in the payload of a started conversation: the handed-over data, and the counters. */
export const HANDOFF = 'hand_over';
export const HANDOFF_META = 'hand_over_meta';

/** Counters of a message across nodes. */
export interface HandoffMeta {
  /** Handoffs so far. */
  readonly handoffs: number;
  /** Agents that had it, in order, as `message-path.ts` names them across nodes. */
  readonly visited: readonly string[];
  /** Model calls so far. */
  readonly modelCalls: number;
  /** USD that may still be spent; absent without a limit. */
  readonly budgetUsd?: number;
}

/** Maximum agent names that are sent; far above any handoff limit. */
const MAX_VISITED = 256;

const wire = z.object({
  hops: z.int().min(0).max(10_000),
  visited: z.array(z.string().max(512)).max(MAX_VISITED).default([]),
  model_calls: z.int().min(0).max(1_000_000).default(0),
  budget_usd: z.number().min(0).optional(),
});

/** Writes the counters as envelope metadata: scalars and a flat list. */
export const metaOf = ({
  handoffs,
  visited,
  modelCalls,
  budgetUsd,
}: HandoffMeta): Record<string, unknown> => ({
  hops: handoffs,
  visited: visited.slice(-MAX_VISITED),
  model_calls: modelCalls,
  ...(budgetUsd === undefined || !Number.isFinite(budgetUsd) ? {} : { budget_usd: budgetUsd }),
});

/** Reads the counters from envelope metadata, if there are any. */
export function readMeta(meta: unknown, log: Logger = silentLog): HandoffMeta | undefined {
  if (typeof meta !== 'object' || meta === null || !Object.hasOwn(meta, 'hops')) return undefined;
  const read = wire.safeParse(meta);
  if (!read.success) {
    log.warn('the counters of a handoff are invalid', { issue: read.error.issues[0]?.path.join('.') });
    return undefined;
  }
  const { hops: handoffs, visited, model_calls: modelCalls, budget_usd: budgetUsd } = read.data;
  return { handoffs, visited, modelCalls, ...(budgetUsd === undefined ? {} : { budgetUsd }) };
}

/** A message for an agent on another node. */
export interface RemoteRequest {
  /** Stays the same when the turn is resumed, so that the other node recognizes the message. */
  readonly id: string;
  /** An address, or `capability:` and a name. */
  readonly target: string;
  readonly userMessage: string;
  /** The history before it, oldest first, in whole turns. */
  readonly history: readonly ModelMessage[];
  /** Arguments that the state map hands over. */
  readonly extras: JsonObject;
  readonly meta: HandoffMeta;
  readonly signal: AbortSignal;
}

export type RemoteEvent =
  | { type: 'text'; text: string }
  | { type: 'done'; text: string; usage?: Usage; model?: string };

/** Port to agents on other nodes; `fabric-call.ts` implements it over a link. */
export type RemoteCall = (request: RemoteRequest) => AsyncIterable<RemoteEvent>;
