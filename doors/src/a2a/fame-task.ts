// Converts a task of an agent with task methods to an A2A task. The fabric's tasks follow an early version of A2A, so most fields only
// change their form.
import {
  type Artifact as FameArtifact,
  type Message as FameMessage,
  type TaskState as FameState,
  type TaskStatus as FameStatus,
  type Task as FameTask,
  isFinalState,
  type TaskEvent,
} from '@fame-fabric/shared';
import { messageOf, partsOf } from './parts.ts';
import {
  type Artifact,
  type Message,
  type StreamResponse,
  type Task,
  TaskState,
  type TaskStatus,
} from './sdk.ts';

const STATES: Readonly<Record<FameState, TaskState>> = {
  submitted: TaskState.TASK_STATE_SUBMITTED,
  working: TaskState.TASK_STATE_WORKING,
  'input-required': TaskState.TASK_STATE_INPUT_REQUIRED,
  completed: TaskState.TASK_STATE_COMPLETED,
  canceled: TaskState.TASK_STATE_CANCELED,
  failed: TaskState.TASK_STATE_FAILED,
  unknown: TaskState.TASK_STATE_UNSPECIFIED,
};
/**
 * Key in the metadata of a task's final message. With the value `message`, the client receives this message instead of the task.
 */
const RESPONSE = 'a2aResponse';

/** Converts a state. An unknown state, such as one of a later version, is UNRECOGNIZED. */
export const a2aState = (state: FameState): TaskState => STATES[state] ?? TaskState.UNRECOGNIZED;

interface Ids {
  readonly taskId: string;
  readonly contextId: string;
}

/** The context of a task is its session. */
export const idsOf = ({ id, sessionId }: Pick<FameTask, 'id' | 'sessionId'>): Ids => ({
  taskId: id,
  contextId: sessionId ?? id,
});

export function taskOf(task: FameTask): Task {
  const ids = idsOf(task);
  return {
    id: ids.taskId,
    contextId: ids.contextId,
    status: statusOf(ids, task.status),
    artifacts: artifactsOf(task.artifacts ?? []),
    history: (task.history ?? []).map((message, index) =>
      messageOf(message, { ...ids, messageId: `${task.id}-${index}` }),
    ),
    metadata: task.metadata ?? undefined,
  };
}

function statusOf(ids: Ids, { state, message, timestamp }: FameStatus): TaskStatus {
  const time = new Date(timestamp);
  return {
    state: a2aState(state),
    message: message ? statusMessage(ids, message, timestamp) : undefined,
    timestamp: Number.isNaN(time.getTime()) ? undefined : time.toISOString(),
  };
}

const statusMessage = (ids: Ids, message: FameMessage, timestamp: string): Message =>
  messageOf({ ...message, role: 'agent' }, { ...ids, messageId: `${ids.taskId}-${timestamp}` });

/** Joins the pieces of artifacts that the agent sent with `append`. */
function artifactsOf(pieces: readonly FameArtifact[]): Artifact[] {
  const artifacts = new Map<number, Artifact>();
  for (const piece of pieces) {
    const known = artifacts.get(piece.index);
    const artifact = artifactOf(piece);
    if (known && piece.append) known.parts.push(...artifact.parts);
    else artifacts.set(piece.index, artifact);
  }
  return [...artifacts.values()];
}

const artifactOf = ({ index, name, description, parts, metadata }: FameArtifact): Artifact => ({
  artifactId: `artifact-${index}`,
  name: name ?? '',
  description: description ?? '',
  parts: partsOf(parts),
  metadata: metadata ?? undefined,
  extensions: [],
});

/** Returns the message that replaces the task in the response, or undefined. */
export function directMessage(task: FameTask): Message | undefined {
  const { state, message, timestamp } = task.status;
  if (state !== 'completed' || message?.metadata?.[RESPONSE] !== 'message') return undefined;
  const { [RESPONSE]: _, ...metadata } = message.metadata;
  const { contextId } = idsOf(task);
  return { ...statusMessage(idsOf(task), { ...message, metadata }, timestamp), contextId, taskId: '' };
}

/**
 * Converts the events of a subscription. `task` was read after the subscription began: events whose state or artifact it already has are
 * left out.
 */
export async function* taskUpdates(
  task: FameTask,
  events: AsyncIterable<TaskEvent>,
): AsyncGenerator<StreamResponse, void> {
  const ids = idsOf(task);
  const seen = new Map<string, number>();
  for (const artifact of task.artifacts ?? []) count(seen, artifact, 1);
  count(seen, task.status, 1);
  for await (const event of events) {
    if (count(seen, 'status' in event ? event.status : event.artifact, -1)) continue;
    const metadata = event.metadata ?? undefined;
    if ('status' in event) {
      const { status } = event;
      yield {
        payload: { $case: 'statusUpdate', value: { ...ids, status: statusOf(ids, status), metadata } },
      };
      if (event.final || isFinalState(status.state)) return;
    } else {
      const { artifact } = event;
      const flags = { append: artifact.append ?? false, lastChunk: artifact.lastChunk ?? false };
      const value = { ...ids, artifact: artifactOf(artifact), ...flags, metadata };
      yield { payload: { $case: 'artifactUpdate', value } };
    }
  }
}

/** Adds to the count of a value. Returns true if it was counted before. */
function count(seen: Map<string, number>, value: unknown, by: 1 | -1): boolean {
  const key = JSON.stringify(value);
  const before = seen.get(key) ?? 0;
  if (by === -1 && before === 0) return false;
  seen.set(key, before + by);
  return before > 0;
}
