// The model behind the OpenAI Chat Completions API, or any server that speaks it. It always streams, retries by itself
// before the first chunk (never after: what was handed on cannot be taken back), and closes the HTTP request at once when
// the reader aborts or leaves. The only file that imports `openai`; what went wrong is put into words in model-failure.ts.
import {
  type Clock,
  FabricError,
  type Logger,
  silentLog,
  systemClock,
  type Timer,
} from '@fame-fabric/shared';
import type { OpenAI } from 'openai';
import type { ChatModel, ModelChunk, ModelRequest } from '../model.ts';
import { type FailureContext, modelFailure } from '../model-failure.ts';
import { delayMs, MAX_ATTEMPTS } from '../model-retry.ts';
import { modelStream, pause, untilAborted } from '../model-stream.ts';
import { CompletionBody } from './completion-body.ts';

// How long the usage report may come after the finish reason, and the end of the body after that.
const AFTERMATH_MS = 2000;

export const OPENAI_BASE_URL = 'https://api.openai.com/v1';

export interface OpenAIModelOptions {
  /** The name of the model; a request may override it. */
  model: string;
  /** Servers of one's own often need none. */
  apiKey?: string | undefined;
  /** Credentials in it are sent as Basic authorization, its query with every request. @default https://api.openai.com/v1 */
  baseURL?: string | undefined;
  organization?: string | undefined;
  project?: string | undefined;
  /** Longest wait for the first chunk, and between two chunks. @default 60000 */
  timeoutMs?: number | undefined;
  /** @default systemClock */
  clock?: Clock;
  /** Told of each retry. @default silentLog */
  log?: Logger;
  /** @default the platform's fetch */
  fetch?: typeof globalThis.fetch;
  /** Jitter: numbers from 0 up to 1. @default Math.random */
  random?: () => number;
}

type Body = OpenAI.ChatCompletionCreateParamsStreaming;

/** What some servers refuse and can be left out or renamed; learnt from their first refusal. */
interface Dialect {
  noStreamOptions: boolean;
  noTemperature: boolean;
  maxCompletionTokens: boolean;
  /** The model knows no tools. Where one is demanded, the refusal stands. */
  noTools: boolean;
}

/**
 * A model on a server that speaks Chat Completions. Nothing is loaded or sent before the first request.
 * @throws {CONFIG_INVALID} when `baseURL` is not an http or https URL, or `apiKey` cannot be a key
 */
export function openaiModel(options: OpenAIModelOptions): ChatModel {
  const { model, organization, project, timeoutMs = 60_000, fetch } = options;
  const { clock = systemClock, log = silentLog, random = Math.random } = options;
  // A line break behind a pasted key is common, and no header can carry it.
  const apiKey = options.apiKey?.trim();
  if (apiKey && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new FabricError(
      'CONFIG_INVALID',
      'OPENAI_API_KEY contains characters that no key has: copy it again.',
    );
  }
  const server = readUrl(options.baseURL || OPENAI_BASE_URL);
  const dialect: Dialect = {
    noStreamOptions: false,
    noTemperature: false,
    maxCompletionTokens: false,
    noTools: false,
  };

  // The library takes a tenth of a second to load: an agent that has not been asked anything does not pay for it.
  let client: Promise<OpenAI> | undefined;
  const load = (): Promise<OpenAI> => {
    client ??= import('openai').then(
      ({ OpenAI }) =>
        new OpenAI({
          apiKey: apiKey || 'no-key',
          baseURL: server.url,
          // null, not undefined: the environment is read by config.ts alone.
          organization: organization || null,
          project: project || null,
          adminAPIKey: null,
          webhookSecret: null,
          maxRetries: 0,
          // Our own clock ends waiting; the library's timer must not be faster.
          timeout: 2 ** 31 - 1,
          logLevel: 'off',
          defaultQuery: server.query,
          ...(server.authorization && !apiKey
            ? { defaultHeaders: { Authorization: server.authorization } }
            : {}),
          ...(fetch ? { fetch } : {}),
        }),
    );
    return client;
  };

  const contextOf = (request: ModelRequest): FailureContext => ({
    url: server.shown,
    model: request.model ?? model,
    apiKey,
    nowMs: clock.now(),
    texts: request.messages.map((message) => message.content ?? ''),
  });

  async function* answer(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelChunk, void> {
    for (let attempt = 1; ; ) {
      signal.throwIfAborted();
      let delivered = false;
      try {
        for await (const chunk of once(request, signal)) {
          delivered = true;
          yield chunk;
        }
        return;
      } catch (thrown) {
        if (signal.aborted) throw signal.reason;
        const hadTools = !dialect.noTools;
        if (!delivered && learn(dialect, thrown, request)) {
          if (hadTools && dialect.noTools) {
            log.warn('the model knows no tools, it is asked without them from now on', { model });
          }
          continue;
        }
        const failure = modelFailure(thrown, contextOf(request), delivered);
        if (delivered || !failure.again || attempt >= MAX_ATTEMPTS) throw failure.error;
        const waitMs = delayMs(attempt, failure.retryAfterMs, random);
        log.warn('model request failed, trying again', {
          code: failure.error.code,
          status: failure.error.details?.status,
          attempt,
          waitMs: Math.round(waitMs),
        });
        await pause(clock, waitMs, signal);
        attempt += 1;
      }
    }
  }

  /** One request. Throws what went wrong as it came; a silent server is a MODEL_TIMEOUT. */
  async function* once(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelChunk, void> {
    const cut = new AbortController();
    const onAbort = (): void => cut.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    let silent = false;
    let begun = false;
    let finished = false;
    let timer: Timer | undefined;
    const waitForServer = (): void => {
      timer = clock.after(
        finished ? Math.min(timeoutMs, AFTERMATH_MS) : timeoutMs,
        () => {
          silent = true;
          cut.abort();
        },
        { keepAlive: true },
      );
    };
    // The library reports its own abort; what made us abort is the truth.
    const checkCut = (): void => {
      signal.throwIfAborted();
      if (silent && !finished) throw timedOut(server.shown, timeoutMs, begun);
    };

    let body: CompletionBody | undefined;
    try {
      const openai = await untilAborted(load(), signal);
      waitForServer();
      const response = await openai.chat.completions
        .create(bodyOf(request, model, dialect), { signal: cut.signal })
        .asResponse();
      body = new CompletionBody(response);
      for (let chunks = await body.next(); chunks; chunks = await body.next()) {
        // Comments count as signs of life, too: that is what servers send them for.
        timer?.stop();
        checkCut();
        for (const chunk of chunks) {
          begun = true;
          finished ||= chunk.choices.some((choice) => choice.finish_reason);
          yield chunk;
          checkCut();
        }
        waitForServer();
      }
      checkCut();
      if (!finished) throw brokenOff(server.shown, begun);
    } catch (error) {
      checkCut();
      // A finished answer stays one, even if the connection breaks behind it.
      if (!finished) throw error;
    } finally {
      timer?.stop();
      signal.removeEventListener('abort', onAbort);
      if (body?.complete) body.readToEnd(clock, AFTERMATH_MS, cut);
      else cut.abort();
    }
  }

  return {
    name: model,
    stream: (request, { signal } = {}) => modelStream(signal, (inner) => answer(request, inner)),
  };
}

interface Server {
  /** Where requests go. */
  readonly url: string;
  /** The same for messages. */
  readonly shown: string;
  readonly query: Record<string, string>;
  readonly authorization: string | undefined;
}

function readUrl(text: string): Server {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new FabricError(
      'CONFIG_INVALID',
      'OPENAI_BASE_URL must be an http or https URL, such as http://127.0.0.1:8080/v1.',
    );
  }
  const { username, password } = url;
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const bare = `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
  return {
    url: bare,
    shown: bare,
    query: Object.fromEntries(url.searchParams),
    authorization: username || password ? `Basic ${Buffer.from(login).toString('base64')}` : undefined,
  };
}

function bodyOf(request: ModelRequest, model: string, dialect: Dialect): Body {
  const { messages, tool_choice, temperature, max_tokens } = request;
  const tools = dialect.noTools && isFree(tool_choice) ? undefined : request.tools;
  return {
    model: request.model ?? model,
    messages: messages as Body['messages'],
    stream: true,
    ...(dialect.noStreamOptions ? {} : { stream_options: { include_usage: true } }),
    ...(tools && tools.length > 0 ? { tools: tools as NonNullable<Body['tools']> } : {}),
    ...(tools && tools.length > 0 && tool_choice ? { tool_choice } : {}),
    ...(temperature === undefined || dialect.noTemperature ? {} : { temperature }),
    ...(max_tokens === undefined
      ? {}
      : dialect.maxCompletionTokens
        ? { max_completion_tokens: max_tokens }
        : { max_tokens }),
  };
}

/** How Ollama, llama.cpp, vLLM and OpenRouter say that a model knows no tools. */
const NO_TOOLS =
  /\bnot support\w* (?:\w+ )?(?:tools?|function.calling)|\btools?\b[^.]{0,40}\bnot supported|enable-auto-tool-choice|no endpoints found that support tool/i;

const isFree = (choice: ModelRequest['tool_choice']): boolean =>
  choice === undefined || choice === 'auto' || choice === 'none';

/** Learns from a refusal what the server wants otherwise. True when asking again in the new way makes sense. */
function learn(dialect: Dialect, thrown: unknown, { tools, tool_choice }: ModelRequest): boolean {
  const { status, param, message } = (thrown ?? {}) as {
    status?: unknown;
    param?: unknown;
    message?: unknown;
  };
  const about = `${String(param)} ${String(message)}`;
  const turnOn = (key: keyof Dialect): boolean => {
    const news = !dialect[key];
    dialect[key] = true;
    return news;
  };
  if (NO_TOOLS.test(about) && tools && tools.length > 0 && isFree(tool_choice)) return turnOn('noTools');
  if (status !== 400 && status !== 422) return false;
  if (/stream_options|include_usage/.test(about)) return turnOn('noStreamOptions');
  if (/max_completion_tokens/.test(about)) return turnOn('maxCompletionTokens');
  if (param === 'temperature' && /unsupported|not support/i.test(about)) return turnOn('noTemperature');
  return false;
}

const timedOut = (url: string, timeoutMs: number, begun: boolean): FabricError =>
  new FabricError(
    'MODEL_TIMEOUT',
    `The model server at ${url} ${begun ? 'stopped in the middle of its answer' : 'did not answer'} for ${timeoutMs} ms: try again, or raise FAME_MODEL_TIMEOUT_MS.`,
  );

const brokenOff = (url: string, begun: boolean): FabricError =>
  new FabricError(
    'MODEL_UNAVAILABLE',
    begun
      ? `The model server at ${url} broke off in the middle of its answer: ask again.`
      : `The model server at ${url} sent an empty answer: check OPENAI_BASE_URL and the server.`,
  );
