// The status of a task as an event of A2A 1.0, for push notifications in that form.
import type { Message, Part, Task, TaskState } from '@fame-fabric/shared';

const STATES: Readonly<Record<TaskState, string>> = {
  submitted: 'TASK_STATE_SUBMITTED',
  working: 'TASK_STATE_WORKING',
  'input-required': 'TASK_STATE_INPUT_REQUIRED',
  completed: 'TASK_STATE_COMPLETED',
  canceled: 'TASK_STATE_CANCELED',
  failed: 'TASK_STATE_FAILED',
  unknown: 'TASK_STATE_UNSPECIFIED',
};

/** Returns the `StreamResponse` with the status of a task: `{ statusUpdate: { taskId, contextId, status } }`. */
export function statusNotification({ id, sessionId, status }: Task): Record<string, unknown> {
  const ids = { taskId: id, contextId: sessionId ?? id };
  const { state, message, timestamp } = status;
  return {
    statusUpdate: {
      ...ids,
      status: {
        state: STATES[state],
        timestamp,
        ...(message ? { message: messageOf(message, ids, timestamp) } : {}),
      },
    },
  };
}

function messageOf(
  { parts, metadata }: Message,
  ids: { taskId: string; contextId: string },
  timestamp: string,
): Record<string, unknown> {
  return {
    messageId: `${ids.taskId}-${timestamp}`,
    ...ids,
    role: 'ROLE_AGENT',
    parts: parts.map(partOf),
    ...(metadata ? { metadata } : {}),
  };
}

function partOf(part: Part): Record<string, unknown> {
  const metadata = part.metadata ? { metadata: part.metadata } : {};
  if (part.type === 'text') return { text: part.text, ...metadata };
  if (part.type === 'data') return { data: part.data, ...metadata };
  const { name, mimeType, bytes, uri } = part.file;
  return {
    ...(typeof bytes === 'string' ? { raw: bytes } : { url: uri ?? '' }),
    ...(name ? { filename: name } : {}),
    ...(mimeType ? { mediaType: mimeType } : {}),
    ...metadata,
  };
}
