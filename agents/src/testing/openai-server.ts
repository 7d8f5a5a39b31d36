// Fake OpenAI server on loopback: real HTTP, real server-sent events, scripted answers. It can misbehave on the wire as real
// servers do (split characters, CRLF, comments, joined events, errors, cut connections, silence). It records requests and
// disconnects, and refuses requests that the strictest servers would refuse.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ModelChunk, ModelRequest } from '../model/model.ts';
import {
  type ApiError,
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
} from '../model/openai/openai-wire.ts';
import { ReplyQueue } from './reply-queue.ts';
import { asReply, play, type Scripted, type ScriptReply } from './script.ts';
import { checkTranscript, type Violation } from './transcript-validator.ts';

/** Encoding of the events of a stream. */
export interface Framing {
  /** Ends lines with CRLF. */
  crlf?: boolean;
  /** Sends a comment line before each event, as proxies do to keep a connection open. */
  comments?: boolean;
  /** Writes the bytes in pieces of this size, even inside a character. */
  splitBytes?: number;
  /** Number of events per write. */
  joinEvents?: number;
  /** Ends with `data: [DONE]`. @default true */
  done?: boolean;
}

export interface ServerReply extends ScriptReply {
  /** Answers with this status and error instead of the steps. */
  http?: { status: number; headers?: Record<string, string>; error?: ApiError; body?: string };
  framing?: Framing;
}

/** The body of a request in wire format. */
export type WireRequest = ModelRequest & {
  model: string;
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
};

export interface RecordedRequest {
  readonly index: number;
  readonly body: WireRequest;
  readonly headers: IncomingMessage['headers'];
  /** performance.now() of its arrival. */
  readonly at: number;
  /** performance.now() of a disconnect before the answer was complete. */
  disconnectedAt?: number;
  /** Resolves when the answer is sent or the client has disconnected. */
  readonly ended: Promise<'answered' | 'disconnected' | 'cut'>;
}

export interface FakeOpenAIOptions {
  /** Answers, as for the scripted model. */
  replies?: readonly Scripted<ServerReply>[];
  /** Answers requests that no reply matches. */
  respond?: (request: WireRequest, index: number) => Scripted<ServerReply>;
  framing?: Framing;
  /** Refuses every other key with 401. */
  apiKey?: string;
  /** Refuses every other model with 404. */
  models?: readonly string[];
  /** Refuses `stream_options`, as some servers do. */
  refuseStreamOptions?: boolean;
}

const MAX_BODY_BYTES = 16 * 1024 * 1024;

export class FakeOpenAI {
  readonly #options: FakeOpenAIOptions;
  readonly #http: Server;
  readonly #replies = new ReplyQueue<ServerReply>();
  readonly #requests: RecordedRequest[] = [];
  #waiting: { count: number; resolve: () => void }[] = [];
  #connections = 0;

  constructor(options: FakeOpenAIOptions = {}) {
    this.#options = options;
    this.push(...(options.replies ?? []));
    this.#http = createServer((request, response) => void this.#handle(request, response));
    this.#http.on('connection', (socket) => {
      this.#connections += 1;
      socket.setNoDelay(true);
    });
  }

  async listen(port = 0): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', reject);
      this.#http.listen(port, '127.0.0.1', resolve);
    });
    return this;
  }

  /** The base URL for clients: `http://127.0.0.1:<port>/v1`. */
  get url(): string {
    return `${this.origin}/v1`;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  /** Appends replies. */
  push(...replies: readonly Scripted<ServerReply>[]): void {
    this.#replies.push(...replies);
  }

  /** Every completion request so far, in order of arrival. */
  get requests(): readonly RecordedRequest[] {
    return this.#requests;
  }

  get count(): number {
    return this.#requests.length;
  }

  /** TCP connections accepted so far. */
  get connections(): number {
    return this.#connections;
  }

  get violations(): readonly Violation[] {
    return this.#replies.violations;
  }

  /** Resolves with request number `count` (from 1) when it has arrived. */
  async arrival(count: number): Promise<RecordedRequest> {
    if (this.#requests.length < count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push({ count, resolve });
      await promise;
    }
    return this.#requests[count - 1]!;
  }

  /** Throws if a request was invalid for the OpenAI API. */
  assertValid(): void {
    this.#replies.assertValid();
  }

  /** Throws if a request was invalid or unexpected, or a reply was not used. */
  done(): void {
    this.#replies.done(this.count);
  }

  async close(): Promise<void> {
    this.#http.closeAllConnections();
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?')[0];
    try {
      if (request.method === 'GET' && path === '/v1/models') {
        sendJson(response, 200, modelsObject(this.#options.models ?? ['fake'], 0));
      } else if (request.method === 'POST' && path === '/v1/chat/completions') {
        await this.#complete(request, response);
      } else sendJson(response, 404, errorObject({ message: `Unknown path ${path}.` }));
    } catch (error) {
      if (response.headersSent || response.destroyed) response.destroy();
      else if (error instanceof BodyError)
        sendJson(response, error.status, errorObject({ message: error.message }));
      else sendJson(response, 500, errorObject({ message: String(error), type: 'server_error' }));
    }
  }

  async #complete(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = performance.now();
    const body = (await readJson(request, MAX_BODY_BYTES)) as WireRequest;
    const refusal = this.#refusal(request, body);
    const index = this.#requests.length;
    const ended = Promise.withResolvers<'answered' | 'disconnected' | 'cut'>();
    const record: RecordedRequest = { index, body, headers: request.headers, at, ended: ended.promise };
    this.#requests.push(record);
    const gone = new AbortController();
    let cut = false;
    response.once('close', () => {
      if (response.writableFinished) return ended.resolve('answered');
      if (!cut) record.disconnectedAt = performance.now();
      gone.abort(new Error('The client disconnected.'));
      ended.resolve(cut ? 'cut' : 'disconnected');
    });
    this.#waiting = this.#waiting.filter(({ count, resolve }) => {
      if (count <= this.count) resolve();
      return count > this.count;
    });
    if (refusal) return sendJson(response, refusal.status, errorObject(refusal));

    const reply = this.#take(body, index);
    if (!reply) {
      return sendJson(
        response,
        500,
        errorObject({ message: 'The test did not expect this request.', type: 'server_error' }),
        {
          'x-should-retry': 'false',
        },
      );
    }
    if (reply.http) return answerHttp(response, reply.http);
    try {
      const ids = { id: `chatcmpl-${index + 1}`, created: 1_700_000_000, model: body.model };
      const framing = { ...this.#options.framing, ...reply.framing };
      cut =
        (await (body.stream ? sendStream : sendWhole)(response, reply, ids, body, framing, gone.signal)) ===
        'cut';
      if (cut) response.destroy();
    } catch (error) {
      if (!gone.signal.aborted) throw error;
    }
  }

  #refusal(request: IncomingMessage, body: WireRequest): (ApiError & { status: number }) | undefined {
    const { apiKey, models, refuseStreamOptions } = this.#options;
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`) {
      return { status: 401, message: 'Incorrect API key provided.', code: 'invalid_api_key' };
    }
    const found = checkTranscript(body, { wire: true });
    this.#replies.violations.push(...found);
    if (found[0]) return { status: 400, message: found[0].message, param: found[0].param };
    if (models && !models.includes(body.model)) {
      return { status: 404, message: `The model ${body.model} does not exist.`, code: 'model_not_found' };
    }
    if (refuseStreamOptions && body.stream_options) {
      return { status: 400, message: 'Unknown parameter: stream_options.', param: 'stream_options' };
    }
    return undefined;
  }

  #take(body: WireRequest, index: number): ServerReply | undefined {
    const scripted = this.#replies.take(body, index);
    if (scripted) return scripted;
    if (this.#options.respond) return asReply<ServerReply>(this.#options.respond(body, index), body, index);
    this.#replies.unexpected(body, index);
    return undefined;
  }
}

/** Starts a fake OpenAI server on a free port. */
export const fakeOpenAI = (options?: FakeOpenAIOptions): Promise<FakeOpenAI> =>
  new FakeOpenAI(options).listen();

/** Makes a reply that is an HTTP error. */
export const httpError = (
  status: number,
  error: Partial<ApiError> = {},
  headers: Record<string, string> = {},
): ServerReply => ({
  steps: [],
  http: { status, headers, error: { message: `status ${status}`, ...error } },
});

function answerHttp(response: ServerResponse, http: NonNullable<ServerReply['http']>): void {
  const { status, headers = {}, error, body } = http;
  if (body === undefined) {
    sendJson(response, status, errorObject(error ?? { message: `status ${status}` }), headers);
  } else {
    response.writeHead(status, headers);
    response.end(body);
  }
}

/** Writes bytes and waits until they are sent, so that each write is a packet of its own. */
async function write(
  response: ServerResponse,
  bytes: Uint8Array | string,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  response.write(bytes);
  await new Promise((resolve) => setImmediate(resolve));
}

type Send = (
  response: ServerResponse,
  reply: ServerReply,
  ids: WireIds,
  body: WireRequest,
  framing: Framing,
  signal: AbortSignal,
) => Promise<'sent' | 'cut'>;

const sendStream: Send = async (response, reply, ids, body, framing, signal) => {
  const { crlf = false, comments = false, splitBytes, joinEvents = 1, done = true } = framing;
  let buffered: string[] = [];
  const flush = async (): Promise<void> => {
    const bytes = Buffer.from(buffered.join(''));
    buffered = [];
    const size = splitBytes ?? Math.max(1, bytes.length);
    for (let at = 0; at < bytes.length; at += size)
      await write(response, bytes.subarray(at, at + size), signal);
  };
  const send = async (data: unknown): Promise<void> => {
    const text = `${comments ? ': keep-alive\n' : ''}${event(data)}`;
    buffered.push(crlf ? text.replaceAll('\n', '\r\n') : text);
    if (buffered.length >= joinEvents) await flush();
  };
  const begin = (): void => {
    if (!response.headersSent) response.writeHead(200, EVENT_STREAM_HEADERS);
  };

  let first = true;
  for await (const step of play(reply, signal, flush)) {
    begin();
    if ('chunk' in step) {
      if (step.chunk.usage && step.chunk.choices.length === 0 && !body.stream_options?.include_usage)
        continue;
      await send(chunkObject(step.chunk, ids, first));
      first = false;
    } else if ('bytes' in step) {
      await flush();
      await write(response, step.bytes, signal);
    } else if ('fail' in step) {
      await send(errorObject({ message: step.fail.message, type: 'server_error' }));
      await flush();
      response.end();
      return 'sent';
    } else if ('disconnect' in step) {
      await flush();
      return 'cut';
    } else throw new Error('A script with `retry` needs the scripted model.');
  }
  begin();
  if (done) await send('[DONE]');
  await flush();
  response.end();
  return 'sent';
};

const sendWhole: Send = async (response, reply, ids, _body, _framing, signal) => {
  const chunks: ModelChunk[] = [];
  for await (const step of play(reply, signal)) {
    if ('chunk' in step) {
      chunks.push(step.chunk);
    } else if ('fail' in step) {
      sendJson(response, 500, errorObject({ message: step.fail.message, type: 'server_error' }));
      return 'sent';
    } else if ('disconnect' in step) return 'cut';
  }
  sendJson(response, 200, completionObject(chunks, ids));
  return 'sent';
};
