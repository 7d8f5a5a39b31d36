// What goes along when a message is handed to an agent on another node: how often it has been handed over and past whom, so
// that limits hold across nodes; what may still be spent; and what was said before. The counters travel in the metadata of
// the envelope, the rest in the payload that starts the conversation over there.
import { type Logger, silentLog } from '@fame-fabric/shared';
import { z } from 'zod';
import type { ModelMessage, Usage } from '../model/model.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';

/** Starts a target that is a capability instead of an address. */
export const CAPABILITY_PREFIX = 'capability:';

/** Keys of the payload that a conversation is started with: what was handed over, and the counters. */
export const HAND_OVER = 'hand_over';
export const HAND_OVER_META = 'hand_over_meta';

/** The counters of a message on its way. */
export interface HandOverMeta {
  /** How often it has been handed over. */
  readonly handoffs: number;
  /** Whom it has passed, in order: agents as `team-run.ts` names them across nodes. */
  readonly visited: readonly string[];
  /** Model calls so far. */
  readonly modelCalls: number;
  /** USD that may still be spent; absent without a limit. */
  readonly budgetUsd?: number;
}

/** Most names of agents that travel; far more than hops may be. */
const MAX_VISITED = 256;

const wire = z.object({
  hops: z.int().min(0).max(10_000),
  visited: z.array(z.string().max(512)).max(MAX_VISITED).default([]),
  model_calls: z.int().min(0).max(1_000_000).default(0),
  budget_usd: z.number().min(0).optional(),
});

/** The counters as envelope metadata: scalars and a flat list. */
export const metaOf = ({
  handoffs,
  visited,
  modelCalls,
  budgetUsd,
}: HandOverMeta): Record<string, unknown> => ({
  hops: handoffs,
  visited: visited.slice(-MAX_VISITED),
  model_calls: modelCalls,
  ...(budgetUsd === undefined || !Number.isFinite(budgetUsd) ? {} : { budget_usd: budgetUsd }),
});

/** The counters in envelope metadata, if there are any. */
export function readMeta(meta: unknown, log: Logger = silentLog): HandOverMeta | undefined {
  if (typeof meta !== 'object' || meta === null || !Object.hasOwn(meta, 'hops')) return undefined;
  const read = wire.safeParse(meta);
  if (!read.success) {
    log.warn('counters of a hand-over are not valid', { issue: read.error.issues[0]?.path.join('.') });
    return undefined;
  }
  const { hops: handoffs, visited, model_calls: modelCalls, budget_usd: budgetUsd } = read.data;
  return { handoffs, visited, modelCalls, ...(budgetUsd === undefined ? {} : { budgetUsd }) };
}

/** A message for an agent on another node. */
export interface RemoteRequest {
  /** The same when the same turn is taken up again, so that the other node knows it again. */
  readonly id: string;
  /** An address, or `capability:` and a name. */
  readonly target: string;
  readonly userMessage: string;
  /** What was said before it, oldest first, in whole turns. */
  readonly history: readonly ModelMessage[];
  /** What the state map hands over. */
  readonly extras: JsonObject;
  readonly meta: HandOverMeta;
  readonly signal: AbortSignal;
}

export type RemoteEvent =
  | { type: 'text'; text: string }
  | { type: 'done'; text: string; usage?: Usage; model?: string };

/** How a team reaches agents on other nodes; `fabric-call.ts` is the one over a link. */
export type RemoteCall = (request: RemoteRequest) => AsyncIterable<RemoteEvent>;
