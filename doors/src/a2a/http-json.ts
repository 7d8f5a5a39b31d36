// The HTTP+JSON binding of version 1.0: finds the operation of a request, and reads its parameters from the path, the query and the
// body.
import { checkDepth } from '../shared/json-depth.ts';
import type { RequestHandler } from './request-handler.ts';
import {
  AgentCard,
  ListTaskPushNotificationConfigsResponse,
  ListTasksResponse,
  Message,
  RequestMalformedError,
  SendMessageRequest,
  StreamResponse,
  Task,
  TaskPushNotificationConfig,
  type TaskState,
  taskStateFromJSON,
} from './sdk.ts';

export interface HttpJsonRequest {
  readonly method: string;
  /** The path below the interface, in decoded segments, such as `tasks` and an id. */
  readonly segments: readonly string[];
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: string;
}

export type HttpJsonResponse =
  | { readonly status: number; readonly body?: unknown }
  /** Each item is the JSON of an event. */
  | { readonly events: AsyncGenerator<unknown, void, undefined> };

/** Calls the operation of a request. Undefined if there is none at its path. @throws the errors of `RequestHandler` */
export async function handleHttpJson(
  handler: RequestHandler,
  request: HttpJsonRequest,
): Promise<HttpJsonResponse | undefined> {
  const { method, segments, query } = request;
  const [first = '', second = '', third, fourth] = segments;
  const json = (): Record<string, unknown> => bodyOf(request.body);
  if (segments.length === 1) {
    switch (`${method} ${first}`) {
      case 'POST message:send': {
        const result = await handler.sendMessage(read(SendMessageRequest, json()));
        return ok(
          'messageId' in result ? { message: Message.toJSON(result) } : { task: Task.toJSON(result) },
        );
      }
      case 'POST message:stream':
        return { events: eventsOf(handler.sendMessageStream(read(SendMessageRequest, json()))) };
      case 'GET tasks':
        return ok(await listTasks(handler, query));
      case 'GET extendedAgentCard':
        return ok(AgentCard.toJSON(await handler.getAuthenticatedExtendedAgentCard()));
    }
    return undefined;
  }
  if (first !== 'tasks' || second === '') return undefined;
  if (segments.length === 2) {
    const [id, verb] = verbOf(second);
    const named = { tenant: '', id };
    if (verb === '' && method === 'GET') {
      const historyLength = numberOf(query, 'historyLength');
      return ok(Task.toJSON(await handler.getTask({ ...named, historyLength })));
    }
    if (verb === 'cancel' && method === 'POST')
      return ok(Task.toJSON(await handler.cancelTask({ ...named, metadata: undefined })));
    if (verb === 'subscribe' && (method === 'POST' || method === 'GET'))
      return { events: eventsOf(handler.resubscribe(named)) };
    return undefined;
  }
  if (third !== 'pushNotificationConfigs' || segments.length > 4) return undefined;
  const taskId = second;
  if (fourth === undefined) {
    if (method === 'POST') {
      const config = read(TaskPushNotificationConfig, { ...json(), taskId });
      const created = await handler.createTaskPushNotificationConfig(config);
      return { status: 201, body: TaskPushNotificationConfig.toJSON(created) };
    }
    if (method === 'GET') {
      const page = { tenant: '', taskId, pageSize: 0, pageToken: '' };
      const configs = await handler.listTaskPushNotificationConfigs(page);
      return ok(ListTaskPushNotificationConfigsResponse.toJSON(configs));
    }
    return undefined;
  }
  const named = { tenant: '', taskId, id: fourth };
  if (method === 'GET')
    return ok(TaskPushNotificationConfig.toJSON(await handler.getTaskPushNotificationConfig(named)));
  if (method === 'DELETE') {
    await handler.deleteTaskPushNotificationConfig(named);
    return { status: 204 };
  }
  return undefined;
}

const ok = (body: unknown): HttpJsonResponse => ({ status: 200, body });

async function* eventsOf(events: AsyncGenerator<StreamResponse>): AsyncGenerator<unknown, void, undefined> {
  for await (const event of events) yield StreamResponse.toJSON(event);
}

async function listTasks(handler: RequestHandler, query: HttpJsonRequest['query']): Promise<unknown> {
  const includeArtifacts = textOf(query, 'includeArtifacts') === 'true';
  const response = await handler.listTasks({
    tenant: '',
    contextId: textOf(query, 'contextId'),
    status: stateOf(textOf(query, 'status')),
    pageSize: numberOf(query, 'pageSize'),
    pageToken: textOf(query, 'pageToken'),
    historyLength: numberOf(query, 'historyLength'),
    statusTimestampAfter: textOf(query, 'statusTimestampAfter') || undefined,
    includeArtifacts,
  });
  const { tasks = [] } = ListTasksResponse.toJSON(response) as { tasks?: Record<string, unknown>[] };
  const { nextPageToken, pageSize, totalSize } = response;
  return {
    tasks: includeArtifacts ? tasks.map((task) => ({ artifacts: [], ...task })) : tasks,
    nextPageToken,
    pageSize,
    totalSize,
  };
}

const stateOf = (text: string): TaskState => taskStateFromJSON(text === '' ? 0 : text);

/** Splits `id:cancel`. An id may contain colons. */
function verbOf(segment: string): [id: string, verb: string] {
  const verb = /:(cancel|subscribe)$/.exec(segment)?.[1] ?? '';
  return [verb === '' ? segment : segment.slice(0, -verb.length - 1), verb];
}

function bodyOf(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text === '' ? '{}' : text);
  } catch {
    throw new RequestMalformedError('The body is not JSON.');
  }
  checkDepth(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RequestMalformedError('The body is not a JSON object.');
  return value as Record<string, unknown>;
}

/** Reads a value of the body. The library throws a TypeError for a field of a wrong type. @throws {RequestMalformedError} */
function read<T>({ fromJSON }: { fromJSON(value: unknown): T }, value: unknown): T {
  try {
    return fromJSON(value);
  } catch {
    throw new RequestMalformedError('A field of the body has the wrong type.');
  }
}

function textOf(query: HttpJsonRequest['query'], name: string): string {
  const value = query[name];
  return typeof value === 'string' ? value : '';
}

function numberOf(query: HttpJsonRequest['query'], name: string): number | undefined {
  const text = textOf(query, name);
  return text === '' ? undefined : Number(text);
}
