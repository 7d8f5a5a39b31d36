// HTTP+JSON of version 0.3: the JSON of its protocol buffers (a2a.proto, tag v0.3.0), converted from and to that of version 1.0. The
// library has this conversion inside its express router only.
import { legacyCardOf } from './agent-card.ts';
import { type HttpJsonRequest, type HttpJsonResponse, handleHttpJson } from './http-json.ts';
import type { RequestHandler } from './request-handler.ts';
import type { AgentCard } from './sdk.ts';

type Json = Record<string, unknown>;

/** Calls the operation of a request, as `handleHttpJson` does. */
export async function handleLegacyHttpJson(
  handler: RequestHandler,
  request: HttpJsonRequest,
): Promise<HttpJsonResponse | undefined> {
  const { method, segments } = request;
  const path = segments.join('/');
  if (path === 'card' && method === 'GET') return { status: 200, body: await legacyCard(handler) };
  // Version 0.3 has no list of tasks over HTTP+JSON.
  if (path === 'tasks' || path === 'extendedAgentCard') return undefined;
  const isPush = segments[2] === 'pushNotificationConfigs';
  const body = method === 'POST' ? converted(request.body, isPush ? pushConfigOf : sendRequestOf) : '';
  const response = await handleHttpJson(handler, { ...request, body });
  if (response === undefined) return undefined;
  if ('events' in response) return { events: legacyEvents(response.events) };
  const result = response.body as Json | undefined;
  if (result === undefined) return response;
  return { status: response.status, body: isPush ? legacyPush(result) : legacyResult(result) };
}

const legacyCard = async (handler: RequestHandler): Promise<unknown> =>
  legacyCardOf((await handler.getAuthenticatedExtendedAgentCard()) satisfies AgentCard);

/** Converts the body of a request. The checks of version 1.0 refuse a body that is not an object. */
function converted(body: string, convert: (value: Json) => Json): string {
  try {
    const value: unknown = JSON.parse(body);
    return isObject(value) ? JSON.stringify(convert(value)) : value === null ? '' : body;
  } catch {
    return body;
  }
}

function sendRequestOf({ message, request, configuration, metadata }: Json): Json {
  return {
    message: messageOf(message ?? request),
    ...(isObject(configuration) ? { configuration: configurationOf(configuration) } : {}),
    ...(isObject(metadata) ? { metadata } : {}),
  };
}

// Protocol buffers omit default values, so a history length of 0 means that it was not set.
function configurationOf({ blocking, historyLength, pushNotification, ...rest }: Json): Json {
  return {
    ...rest,
    returnImmediately: blocking !== true,
    ...(historyLength ? { historyLength } : {}),
    ...(isObject(pushNotification)
      ? { taskPushNotificationConfig: pushConfigOf({ pushNotificationConfig: pushNotification }) }
      : {}),
  };
}

const messageOf = (message: unknown): unknown => {
  if (!isObject(message)) return message;
  const { content, ...rest } = message;
  return { ...rest, parts: Array.isArray(content) ? content.map(partOf) : [] };
};

function partOf(part: unknown): unknown {
  if (!isObject(part)) return part;
  const { text, file, data } = part;
  if (isObject(file)) {
    const { fileWithBytes, fileWithUri, mimeType } = file;
    const content = fileWithUri === undefined ? { raw: fileWithBytes } : { url: fileWithUri };
    return { ...content, ...(mimeType === undefined ? {} : { mediaType: mimeType }) };
  }
  return isObject(data) ? { data: data.data } : { text };
}

function pushConfigOf({ pushNotificationConfig }: Json): Json {
  const { authentication, ...rest } = isObject(pushNotificationConfig) ? pushNotificationConfig : {};
  if (!isObject(authentication)) return rest;
  const { schemes, credentials } = authentication;
  return { ...rest, authentication: { scheme: Array.isArray(schemes) ? schemes[0] : '', credentials } };
}

function legacyPush({ configs, ...config }: Json): Json {
  if (Array.isArray(configs)) return { configs: configs.map((one) => legacyPush(one as Json)) };
  const { taskId, authentication, ...rest } = config;
  const { scheme, credentials } = isObject(authentication) ? authentication : {};
  return {
    name: `tasks/${taskId}/pushNotificationConfigs/${rest.id}`,
    pushNotificationConfig: {
      ...rest,
      ...(scheme === undefined ? {} : { authentication: { schemes: [scheme], credentials } }),
    },
  };
}

async function* legacyEvents(events: AsyncGenerator<unknown>): AsyncGenerator<unknown, void, undefined> {
  for await (const event of events) yield legacyResult(event as Json);
}

/** States after which a stream of version 0.3 ends. */
const FINAL = /_(?:COMPLETED|FAILED|CANCELED|REJECTED|INPUT_REQUIRED|AUTH_REQUIRED)$/;

/** Converts a task, the answer to a message, or an event. */
function legacyResult(result: Json): Json {
  const { task, message, statusUpdate, artifactUpdate } = result;
  if (isObject(task)) return { task: legacyTask(task) };
  if (isObject(message)) return { message: legacyMessage(message) };
  if (isObject(statusUpdate)) {
    const { status } = statusUpdate;
    const isFinal = isObject(status) && FINAL.test(String(status.state));
    return {
      statusUpdate: { ...statusUpdate, status: legacyStatus(status), ...(isFinal ? { final: true } : {}) },
    };
  }
  if (isObject(artifactUpdate))
    return { artifactUpdate: { ...artifactUpdate, artifact: legacyArtifact(artifactUpdate.artifact) } };
  return legacyTask(result);
}

const legacyTask = ({ status, artifacts, history, ...rest }: Json): Json => ({
  ...rest,
  status: legacyStatus(status),
  ...(Array.isArray(artifacts) ? { artifacts: artifacts.map(legacyArtifact) } : {}),
  ...(Array.isArray(history) ? { history: history.map(legacyMessage) } : {}),
});

function legacyStatus(status: unknown): unknown {
  if (!isObject(status)) return status;
  const { state, message, ...rest } = status;
  return {
    state: state === 'TASK_STATE_CANCELED' ? 'TASK_STATE_CANCELLED' : state,
    ...(isObject(message) ? { message: legacyMessage(message) } : {}),
    ...rest,
  };
}

function legacyMessage({ parts, referenceTaskIds: _, ...rest }: Json): Json {
  return { ...rest, content: Array.isArray(parts) ? parts.map(legacyPart) : [] };
}

const legacyArtifact = (artifact: unknown): unknown => {
  if (!isObject(artifact)) return artifact;
  const { parts, ...rest } = artifact;
  return { ...rest, parts: Array.isArray(parts) ? parts.map(legacyPart) : [] };
};

function legacyPart(part: unknown): unknown {
  if (!isObject(part)) return part;
  const { text, raw, url, data, mediaType } = part;
  const type = mediaType === undefined ? {} : { mimeType: mediaType };
  if (raw !== undefined) return { file: { fileWithBytes: raw, ...type } };
  if (url !== undefined) return { file: { fileWithUri: url, ...type } };
  // The data of version 0.3 is an object.
  return data === undefined ? { text } : { data: { data: isObject(data) ? data : { value: data } } };
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
