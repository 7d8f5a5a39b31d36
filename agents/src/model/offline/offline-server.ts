// The offline model as an OpenAI-compatible HTTP endpoint, for demos and other clients without a key:
// POST /v1/chat/completions (streaming or not) and GET /v1/models. It accepts every key and every model name, and answers
// with the model name `offline`.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIPv6 } from 'node:net';
import { type Clock, FabricError, type Logger, newId, silentLog, systemClock } from '@fame-fabric/shared';
import type { ChatModel, ModelChunk, ModelRequest } from '../model.ts';
import {
  BodyError,
  chunkObject,
  completionObject,
  EVENT_STREAM_HEADERS,
  errorObject,
  event,
  modelsObject,
  readJson,
  sendJson,
  type WireIds,
} from '../openai/openai-wire.ts';
import { OFFLINE_MODEL_NAME, offlineModel } from './offline-model.ts';

export interface OfflineServerOptions {
  /** 0 for a free port. */
  port: number;
  /** @default 127.0.0.1 */
  host?: string | undefined;
  /** Pause between two chunks of a stream. @default 15 */
  chunkDelayMs?: number | undefined;
  /** @default systemClock */
  clock?: Clock | undefined;
  /** @default silentLog */
  log?: Logger | undefined;
}

export interface OfflineServer {
  /** The base URL for clients: `http://127.0.0.1:<port>/v1`. */
  readonly url: string;
  /** Stops listening and closes all connections. */
  close(): Promise<void>;
}

const MAX_BODY_BYTES = 1_048_576;
const MAX_MESSAGES = 10_000;

type Body = ModelRequest & { stream?: boolean; stream_options?: { include_usage?: boolean } };

/**
 * Serves the offline model until `close()`.
 * @throws {CONFIG_INVALID} when it cannot listen on the port
 */
export async function startOfflineServer(options: OfflineServerOptions): Promise<OfflineServer> {
  const { port, host = '127.0.0.1', chunkDelayMs = 15, clock = systemClock, log = silentLog } = options;
  const streaming = offlineModel({ chunkDelayMs, clock });
  const whole = offlineModel({ chunkDelayMs: 0 });
  const http = createServer({ headersTimeout: 10_000, requestTimeout: 15_000 }, (request, response) => {
    answer(request, response, { streaming, whole, clock }).catch((error: unknown) => {
      fail(response, error);
      if (!(error instanceof BodyError) && !response.destroyed) {
        log.error('offline model failed', { error: error instanceof Error ? error.name : typeof error });
      }
    });
  });
  await listen(http, port, host);
  const address = http.address() as AddressInfo;
  return {
    url: `http://${isIPv6(host) ? `[${host}]` : host}:${address.port}/v1`,
    async close() {
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      http.closeAllConnections();
      await closed;
    },
  };
}

async function listen(http: Server, port: number, host: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onError = (error: NodeJS.ErrnoException): void => {
    const why = error.code === 'EADDRINUSE' ? 'the port is in use' : (error.code ?? error.message);
    reject(
      new FabricError('CONFIG_INVALID', `Cannot listen on ${host}:${port} (${why}): choose another port.`, {
        cause: error,
        details: { reason: error.code === 'EADDRINUSE' ? 'port-taken' : 'listen' },
      }),
    );
  };
  http.once('error', onError);
  http.listen(port, host, resolve);
  await promise;
  http.off('error', onError);
}

interface AnswerDeps {
  readonly streaming: ChatModel;
  readonly whole: ChatModel;
  readonly clock: Clock;
}

async function answer(request: IncomingMessage, response: ServerResponse, deps: AnswerDeps): Promise<void> {
  const path = request.url?.split('?')[0] ?? '';
  if (path === '/v1/models' || path.startsWith('/v1/models/')) {
    if (request.method !== 'GET') return refuse(response, 405, 'Use GET.');
    const list = modelsObject([OFFLINE_MODEL_NAME], 0);
    return sendJson(response, 200, path === '/v1/models' ? list : list.data[0]);
  }
  if (path !== '/v1/chat/completions') {
    return refuse(
      response,
      404,
      `Unknown path ${path}: this server has /v1/chat/completions and /v1/models.`,
    );
  }
  if (request.method !== 'POST') return refuse(response, 405, 'Use POST.');

  const body = (await readJson(request, MAX_BODY_BYTES)) as Body;
  const fault = faultOf(body);
  if (fault) return refuse(response, 400, fault.message, fault.param);
  const seconds = Math.floor(deps.clock.now() / 1_000);
  const ids: WireIds = { id: `chatcmpl-${newId()}`, created: seconds, model: OFFLINE_MODEL_NAME };
  if (!body.stream) {
    const chunks: ModelChunk[] = [];
    for await (const chunk of deps.whole.stream(body)) chunks.push(chunk);
    return sendJson(response, 200, completionObject(chunks, ids));
  }
  await stream(response, body, ids, deps.streaming);
}

async function stream(response: ServerResponse, body: Body, ids: WireIds, model: ChatModel): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort(new Error('The client hung up.')));
  try {
    let first = true;
    for await (const chunk of model.stream(body, { signal: gone.signal })) {
      if (chunk.choices.length === 0 && !body.stream_options?.include_usage) continue;
      if (first) response.writeHead(200, EVENT_STREAM_HEADERS);
      const written = response.write(event(chunkObject(chunk, ids, first)));
      first = false;
      if (!written) await drained(response);
    }
    response.end(event('[DONE]'));
  } catch (error) {
    // The client hung up, so there is no connection for an error.
    if (!gone.signal.aborted) throw error;
  }
}

/** Waits until a slow client has read the buffered data, or has hung up. */
const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.once('drain', done);
    response.once('close', done);
  });

function faultOf(body: unknown): { message: string; param: string | null } | undefined {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return { message: 'The body must be a JSON object.', param: null };
  }
  const { messages, tools, stop, response_format: format } = body as Record<string, unknown>;
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > MAX_MESSAGES) {
    return { message: `messages must be a list of 1 to ${MAX_MESSAGES} messages.`, param: 'messages' };
  }
  const bad = messages.findIndex(
    (one) => typeof one !== 'object' || one === null || typeof one.role !== 'string',
  );
  if (bad >= 0)
    return { message: `messages[${bad}] must be an object with a role.`, param: `messages[${bad}]` };
  const named = (tool: { function?: { name?: unknown } } | null): boolean =>
    typeof tool?.function?.name === 'string';
  if (tools !== undefined && tools !== null && !(Array.isArray(tools) && tools.every(named))) {
    return { message: 'tools must be a list of functions with a name.', param: 'tools' };
  }
  const isText = (one: unknown): boolean => typeof one === 'string';
  if (stop !== undefined && stop !== null && !isText(stop) && !(Array.isArray(stop) && stop.every(isText))) {
    return { message: 'stop must be a text or a list of texts.', param: 'stop' };
  }
  if (format !== undefined && format !== null && !isFormat(format)) {
    return {
      message: 'response_format must be an object with a type and its schema.',
      param: 'response_format',
    };
  }
  return undefined;
}

function isFormat(format: unknown): boolean {
  const { type, json_schema: schema } = format as { type?: unknown; json_schema?: unknown };
  if (type === 'text' || type === 'json_object') return true;
  return type === 'json_schema' && typeof schema === 'object' && schema !== null;
}

const refuse = (
  response: ServerResponse,
  status: number,
  message: string,
  param: string | null = null,
): void => sendJson(response, status, errorObject({ message, param }));

function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) response.destroy();
  else if (error instanceof BodyError) {
    // The rest of the request body is not read, so the connection cannot be reused.
    sendJson(response, error.status, errorObject({ message: error.message }), { connection: 'close' });
  } else sendJson(response, 500, errorObject({ message: 'The offline model failed.', type: 'server_error' }));
}
