// Ids that this door issues. Each names an agent, a conversation and a turn, so that any process of the door can use it; the agent
// checks that the conversation belongs to the caller.
import { createHash } from 'node:crypto';
import { decodeId, encodeId } from '../shared/opaque-id.ts';

/** A turn of a chat agent. */
export interface TurnIds {
  readonly address: string;
  readonly conversationId: string;
  readonly turnId: string;
}

const encode = (prefix: string, { address, conversationId, turnId }: TurnIds, extra?: string): string =>
  encodeId(prefix, { agent: address, conversation: conversationId, turn: turnId, extra });

function decode(prefix: string, text: string): (TurnIds & { extra: string | undefined }) | undefined {
  const { agent, conversation, turn, extra } = decodeId(prefix, text) ?? {};
  if (agent === undefined || conversation === undefined || turn === undefined) return undefined;
  return { address: agent, conversationId: conversation, turnId: turn, extra };
}

/** A turn that a client polls as a task. */
export interface TaskIds extends TurnIds {
  /** ISO 8601. The id contains it, so that it is known while the agent is unavailable. */
  readonly createdAt: string;
}

/** The id of the task of a turn. */
export const encodeTask = (task: TaskIds): string => encode('task_', task, task.createdAt);

export function decodeTask(text: string): TaskIds | undefined {
  const { extra, ...ids } = decode('task_', text) ?? { extra: undefined };
  return extra === undefined ? undefined : { ...(ids as TurnIds), createdAt: extra };
}

/** A task of an agent with task methods. */
export interface AgentTaskIds {
  readonly address: string;
  readonly taskId: string;
}

export const encodeAgentTask = (task: AgentTaskIds & { readonly createdAt: string }): string =>
  encodeId('job_', { agent: task.address, conversation: task.taskId, extra: task.createdAt });

export function decodeAgentTask(text: string): (AgentTaskIds & { createdAt: string }) | undefined {
  const { agent, conversation, extra } = decodeId('job_', text) ?? {};
  if (agent === undefined || conversation === undefined || extra === undefined) return undefined;
  return { address: agent, taskId: conversation, createdAt: extra };
}

/** State of a call that waited for its client: a turn, an agent's task, or the state of an operation. */
export type CallState =
  | { readonly turn: TurnIds }
  | { readonly task: AgentTaskIds }
  | { readonly operation: string };

const OPERATION = 'op_';

/**
 * The `requestState` of a turn that waits for a person. It is not signed, because a changed value gives no access that the caller does not
 * have.
 */
export const encodeTurnState = (ids: TurnIds): string => encode('wait_', ids);

/** The `requestState` of an agent's task that asks for input. */
export const encodeJobState = ({ address, taskId }: AgentTaskIds): string =>
  encodeId('ask_', { agent: address, conversation: taskId });

/** The `requestState` of an operation. The agent must sign it if changes by the client would be harmful. */
export const encodeOperationState = (state: string): string => OPERATION + state;

/** Reads a `requestState`. Undefined if this door did not make it. */
export function decodeState(text: string): CallState | undefined {
  if (text.startsWith(OPERATION)) return { operation: text.slice(OPERATION.length) };
  const job = decodeId('ask_', text);
  if (job) return { task: { address: job.agent, taskId: job.conversation } };
  const turn = decode('wait_', text);
  return turn && { turn };
}

/** Derives ids from the idempotency key of a call, so that a repeated call finds the turn of the first one. */
export function idsOfKey(
  principal: string,
  tool: string,
  key: string,
): { conversationId: string; callId: string } {
  const digest = createHash('sha256')
    .update(JSON.stringify([principal, tool, key]))
    .digest('base64url');
  return { conversationId: `mcp-${digest.slice(0, 21)}`, callId: `mcp-${digest.slice(21)}` };
}
