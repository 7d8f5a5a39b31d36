// Checks of the parameters of a request. Everything that a client chooses has a limit.

import {
  type ListTasksRequest,
  type Message,
  RequestMalformedError,
  Role,
  type TaskPushNotificationConfig,
  TaskState,
} from './sdk.ts';
import type { TaskQuery } from './task-source.ts';

/** Maximum characters of an id that a client chooses: of a message, a context or a notification. */
const MAX_ID_CHARS = 256;
/** Maximum characters of an id of a task. */
const MAX_TASK_ID_CHARS = 1_024;
const PAGE_SIZE = 50;
const MAX_PAGE_SIZE = 100;

export function checkedMessage(message: Message | undefined): Message {
  if (!message) throw new RequestMalformedError('message: it is required');
  const { messageId, contextId, taskId, role } = message;
  if (messageId.trim() === '') throw new RequestMalformedError('message.messageId: it is required');
  checkLength('message.messageId', messageId, MAX_ID_CHARS);
  checkLength('message.contextId', contextId, MAX_ID_CHARS);
  checkLength('message.taskId', taskId, MAX_TASK_ID_CHARS);
  if (role !== Role.ROLE_USER) throw new RequestMalformedError('message.role: expected ROLE_USER');
  return message;
}

export function checkedTaskId(id: string, field: string): string {
  if (id.trim() === '') throw new RequestMalformedError(`${field}: the id of a task is required`);
  checkLength(field, id, MAX_TASK_ID_CHARS);
  return id;
}

function checkLength(field: string, text: string, limit: number): void {
  if (text.length > limit)
    throw new RequestMalformedError(`${field}: ${text.length} characters; at most ${limit} are allowed`);
}

export function checkedHistoryLength(length: number | undefined): number | undefined {
  if (length !== undefined && (!Number.isInteger(length) || length < 0))
    throw new RequestMalformedError('historyLength: expected a whole number from 0');
  return length;
}

export function checkedQuery({
  contextId,
  status,
  pageSize,
  pageToken,
  statusTimestampAfter,
}: ListTasksRequest): TaskQuery {
  checkLength('contextId', contextId, MAX_ID_CHARS);
  const size = pageSize ?? PAGE_SIZE;
  if (!Number.isInteger(size) || size < 1 || size > MAX_PAGE_SIZE)
    throw new RequestMalformedError(`pageSize: expected a whole number from 1 to ${MAX_PAGE_SIZE}`);
  if (status === TaskState.UNRECOGNIZED)
    throw new RequestMalformedError('status: expected a task state, such as TASK_STATE_WORKING');
  const changedSince = statusTimestampAfter ? Date.parse(statusTimestampAfter) : undefined;
  if (Number.isNaN(changedSince))
    throw new RequestMalformedError(
      'statusTimestampAfter: expected an ISO 8601 time, such as 2026-01-31T12:00:00Z',
    );
  return {
    contextId,
    pageToken,
    pageSize: size,
    state: status === TaskState.TASK_STATE_UNSPECIFIED ? undefined : status,
    changedSince,
  };
}

const PUSH_LIMITS = { id: MAX_ID_CHARS, url: 2_048, token: 1_024 } as const;
const MAX_CREDENTIALS_CHARS = 4_096;
/** Names of authentication schemes, RFC 9110 section 11.1. */
const SCHEME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

export function checkPush(config: TaskPushNotificationConfig): void {
  if (config.url === '') throw new RequestMalformedError('url: it is required');
  for (const [field, limit] of Object.entries(PUSH_LIMITS))
    checkLength(field, config[field as keyof typeof PUSH_LIMITS], limit);
  const { authentication } = config;
  if (!authentication) return;
  if (!SCHEME.test(authentication.scheme))
    throw new RequestMalformedError('authentication.scheme: expected a scheme such as Bearer');
  checkLength('authentication.credentials', authentication.credentials, MAX_CREDENTIALS_CHARS);
}
