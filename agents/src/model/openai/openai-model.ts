// Model client for the OpenAI Chat Completions API and compatible servers. It always streams. It retries only before the first
// chunk, because a delivered chunk cannot be withdrawn. `attempt.ts` has one request and its answer. The
// `openai` package builds the request and its errors; docs/decisions/0015 lists the parts that it does not do.
import { type Clock, FabricError, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import { LONGEST_TIMER_MS, pause, untilAborted } from '@fame-fabric/shared/internal';
import type { OpenAI } from 'openai';
import type { ChatModel, ModelChunk, ModelRequest, ModelStreamOptions } from '../model.ts';
import { modelStream } from '../model-stream.ts';
import { allowedTokens } from './answer-limit.ts';
import { Attempt } from './attempt.ts';
import { isAzure, OPENAI_BASE_URL } from './base-url.ts';
import { Dialects } from './dialect.ts';
import { type FailureContext, isFailedSample, modelFailure } from './model-failure.ts';
import { delayMs, MAX_ATTEMPTS } from './model-retry.ts';
import { nodeFetch } from './node-fetch.ts';
import { providerOf } from './provider-name.ts';
import { requestBody } from './request-body.ts';
import { readServerError } from './server-error.ts';

/** Maximum corrections of one request. Each follows a refusal. */
const MAX_CORRECTIONS = 8;
/** The package's own timer is longer than ours: ours counts the server's silence, the package's the whole request. */
const NO_TIMEOUT_MS = LONGEST_TIMER_MS;

export interface OpenAIModelOptions {
  /** Name of the model; a request may override it. */
  model: string;
  /** Self-hosted servers often need none. */
  apiKey?: string | undefined;
  /** Its credentials are sent as Basic authorization, its query with every request. @default https://api.openai.com/v1 */
  baseURL?: string | undefined;
  organization?: string | undefined;
  project?: string | undefined;
  /** Longest wait for the first chunk, and between two chunks. @default 60_000 */
  timeoutMs?: number | undefined;
  /** @default systemClock */
  clock?: Clock | undefined;
  /** Receives a warning for each retry. @default silentLog */
  log?: Logger | undefined;
  /** @default a fetch over node:http(s) */
  fetch?: typeof globalThis.fetch | undefined;
  /** Jitter: numbers from 0 up to 1. @default Math.random */
  random?: (() => number) | undefined;
}

/**
 * Makes a model on a server of the Chat Completions API. Loads and sends nothing before the first request.
 * @throws {CONFIG_INVALID} when `baseURL` is not an http or https URL, or `apiKey` has a character that no header can carry
 */
export function openaiModel(options: OpenAIModelOptions): ChatModel {
  const { model, organization, project, timeoutMs = 60_000 } = options;
  const { clock = systemClock, log = silentLog, random = Math.random, fetch = nodeFetch } = options;
  // A line break after a pasted key is common, and no header can carry it.
  const apiKey = options.apiKey?.trim();
  if (apiKey && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new FabricError(
      'CONFIG_INVALID',
      'OPENAI_API_KEY contains a character that no key has: copy the key again.',
    );
  }
  const server = readUrl(options.baseURL || OPENAI_BASE_URL);
  const dialects = new Dialects(() => clock.monotonic());

  // The package takes a tenth of a second to load, so the first request loads it.
  let client: Promise<OpenAI> | undefined;
  const load = (): Promise<OpenAI> => {
    client ??= import('openai').then(
      ({ OpenAI }) =>
        new OpenAI({
          apiKey: apiKey || 'no-key',
          baseURL: server.url,
          // null and not undefined, which would make the package read the environment.
          organization: organization || null,
          project: project || null,
          adminAPIKey: null,
          webhookSecret: null,
          maxRetries: 0,
          timeout: NO_TIMEOUT_MS,
          logLevel: 'off',
          defaultQuery: server.query,
          defaultHeaders: headersOf(server, apiKey),
          fetch,
        }),
    );
    return client;
  };

  const contextOf = (request: ModelRequest): FailureContext => ({
    url: server.url,
    model: request.model ?? model,
    apiKey,
    nowMs: clock.now(),
    texts: request.messages.map((message) => message.content ?? ''),
  });

  /** Returns the request to send after a refusal, in the learned dialect or with fewer tokens; undefined if neither helps. */
  function corrected(request: ModelRequest, thrown: unknown): ModelRequest | undefined {
    const name = request.model ?? model;
    const error = readServerError(thrown);
    const trait = dialects.learn(name, error, request);
    if (trait) {
      log.warn(
        trait === 'noTools'
          ? 'the model cannot call tools, so requests omit them for some minutes'
          : 'the model server refuses a part of the request, so requests omit it for some minutes',
        { model: name, trait },
      );
      return request;
    }
    const { max_tokens: asked } = request;
    const allowed = asked === undefined ? undefined : allowedTokens(error.reason, asked);
    return allowed === undefined ? undefined : { ...request, max_tokens: allowed };
  }

  /** Sends the request until it is answered, refused for good, or out of attempts. Then yields the rest of the answer. */
  function answer(
    original: ModelRequest,
    signal: AbortSignal,
    onWait: ModelStreamOptions['onWait'],
  ): AsyncIterator<ModelChunk, void> {
    let latest: Attempt | undefined;
    let isAnswered = false;

    const attemptOf = (request: ModelRequest): Attempt =>
      new Attempt(
        {
          send: (connection) => send(request, connection),
          url: server.url,
          timeoutMs,
          clock,
          failureOf: (thrown) => modelFailure(thrown, contextOf(request), true).error,
        },
        signal,
      );

    const firstChunk = async (): Promise<IteratorResult<ModelChunk, void>> => {
      let request = original;
      let corrections = 0;
      let hasSampledAgain = false;
      for (let attempt = 1; ; ) {
        signal.throwIfAborted();
        latest = attemptOf(request);
        try {
          const first = await latest.next();
          isAnswered = true;
          return first;
        } catch (thrown) {
          if (signal.aborted) throw signal.reason;
          const next = corrections >= MAX_CORRECTIONS ? undefined : corrected(request, thrown);
          if (next) {
            request = next;
            corrections += 1;
            continue;
          }
          if (!hasSampledAgain && isFailedSample(readServerError(thrown))) {
            hasSampledAgain = true;
            continue;
          }
          const failure = modelFailure(thrown, contextOf(request), false);
          if (!failure.isTransient || attempt >= MAX_ATTEMPTS) throw failure.error;
          const waitMs = delayMs(attempt, failure.retryAfterMs, random);
          log.warn('model request failed, retrying', {
            code: failure.error.code,
            status: failure.error.details?.status,
            attempt,
            waitMs: Math.round(waitMs),
          });
          attempt += 1;
          const { reason, message } = failure;
          onWait?.({ reason, waitMs: Math.round(waitMs), attempt, attempts: MAX_ATTEMPTS, message });
          await pause(clock, waitMs, signal);
        }
      }
    };

    return {
      next: () => (isAnswered ? latest!.next() : firstChunk()),
      async return() {
        latest?.close();
        return { done: true, value: undefined };
      },
    };
  }

  async function send(request: ModelRequest, signal: AbortSignal): Promise<Response> {
    const name = request.model ?? model;
    // The package's types require mutable lists and no undefined fields.
    const params = requestBody(
      request,
      model,
      dialects.of(name),
    ) as unknown as OpenAI.ChatCompletionCreateParamsStreaming;
    const openai = await untilAborted(load(), signal);
    return openai.chat.completions.create(params, { signal }).asResponse();
  }

  return {
    name: model,
    provider: providerOf(server.url),
    stream: (request, { signal, onWait } = {}) =>
      modelStream(signal, (inner) => answer(request, inner, onWait)),
  };
}

interface Server {
  /** Base URL without credentials and query. */
  readonly url: string;
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
  return {
    url: `${url.origin}${url.pathname.replace(/\/+$/, '')}`,
    query: Object.fromEntries(url.searchParams),
    authorization: username || password ? `Basic ${Buffer.from(login).toString('base64')}` : undefined,
  };
}

function headersOf({ url, authorization }: Server, apiKey: string | undefined) {
  if (apiKey) return isAzure(url) ? { 'api-key': apiKey, Authorization: null } : undefined;
  return authorization ? { Authorization: authorization } : undefined;
}
