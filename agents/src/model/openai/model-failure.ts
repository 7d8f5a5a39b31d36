// Maps the failures of a model request to one error code and one sentence with the fix. Keys never appear in a message, nor
// in the cause, which is logged. The server's own words appear only if they do not quote the conversation.
import { type ErrorCode, FabricError } from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import { type HeaderSource, retryAfterMs } from './model-retry.ts';

export interface FailureContext {
  /** The server's URL without credentials. */
  readonly url: string;
  readonly model: string;
  readonly apiKey: string | undefined;
  readonly nowMs: number;
  /** The texts of the request, which no error may repeat. */
  readonly texts: readonly string[];
}

interface ModelFailure {
  readonly error: FabricError;
  /** True if the same request may succeed later. */
  readonly isTransient: boolean;
  /** The wait that the server asked for. */
  readonly retryAfterMs?: number | undefined;
}

/** The fields of an error that are read here. It comes from the `openai` package, the network or an event in the stream. */
interface Caught {
  name?: unknown;
  message?: unknown;
  status?: unknown;
  code?: unknown;
  type?: unknown;
  param?: unknown;
  requestID?: unknown;
  error?: unknown;
  headers?: unknown;
  cause?: unknown;
}

const MAX_REASON_CHARS = 200;
const MAX_CAUSE_CHARS = 500;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Removes keys from a text. */
function redact(message: string, apiKey: string | undefined): string {
  const known = apiKey ? message.replaceAll(apiKey, '[key]') : message;
  return known
    .replace(/\b(?:sk|pk|key)-[\w*-]{4,}/gi, '[key]')
    .replace(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 [key]')
    .replace(/\/\/[^/\s@]+@/g, '//');
}

const quotesConversation = (message: string, { texts }: FailureContext): boolean =>
  texts.some((one) => one.length >= 4 && message.includes(one));

/** Returns the server's own reason in one short line, or an empty text if it quotes the conversation. */
function reasonOf(caught: Caught, context: FailureContext): string {
  const own = text((caught.error as { message?: unknown } | undefined)?.message);
  if (quotesConversation(own, context)) return '';
  const line = redact(own, context.apiKey).replace(/\s+/g, ' ').trim();
  return cutText(line, MAX_REASON_CHARS).replace(/[.\s]+$/, '');
}

/** Returns the code of the innermost system error, such as ECONNREFUSED. */
function systemCode(error: unknown): string {
  let code = '';
  for (let one = error as Caught | undefined, depth = 0; one && depth < 6; depth += 1) {
    if (typeof one.code === 'string') code = one.code;
    const inner = one as { cause?: unknown; errors?: unknown };
    one = (inner.cause ?? (Array.isArray(inner.errors) ? inner.errors[0] : undefined)) as Caught | undefined;
  }
  return code;
}

// The UND_ERR codes come from the platform's fetch, which a caller may pass in.
const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the host name cannot be looked up',
  ETIMEDOUT: 'connecting timed out',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no network',
  EPIPE: 'connection closed',
  UND_ERR_SOCKET: 'connection closed',
  UND_ERR_CONNECT_TIMEOUT: 'connecting timed out',
};

/** Classifies an error. `delivered`: part of the answer was delivered, so the request cannot be repeated. */
export function modelFailure(thrown: unknown, context: FailureContext, delivered: boolean): ModelFailure {
  // Our own errors: a broken answer may be requested again; a silent server has already used its time limit.
  if (thrown instanceof FabricError) {
    return { error: thrown, isTransient: thrown.code === 'MODEL_UNAVAILABLE' };
  }
  const caught = (
    typeof thrown === 'object' && thrown !== null ? thrown : { message: String(thrown) }
  ) as Caught;
  const status = typeof caught.status === 'number' ? caught.status : undefined;
  const headers =
    typeof (caught.headers as HeaderSource | undefined)?.get === 'function'
      ? (caught.headers as HeaderSource)
      : undefined;
  const requestedWaitMs = retryAfterMs(headers, context.nowMs);
  const { code, message, isTransient } =
    status === undefined && !caught.error
      ? networkFailure(thrown, context, delivered)
      : serverFailure(caught, context);

  const cause = new Error(cutText(redact(text(caught.message), context.apiKey), MAX_CAUSE_CHARS));
  cause.name = text(caught.name) || 'Error';
  // A parser error quotes the text that it cannot parse.
  if (isNoEventStream(thrown)) cause.message = 'not an event stream';
  else if (quotesConversation(text(caught.message), context)) cause.message = `status ${status ?? 'none'}`;
  const details = {
    ...(status === undefined ? {} : { status }),
    ...(typeof caught.requestID === 'string' ? { requestId: caught.requestID } : {}),
    ...(requestedWaitMs === undefined ? {} : { retryAfterMs: Math.round(requestedWaitMs) }),
  };
  const error = new FabricError(code, message, {
    cause,
    details: Object.keys(details).length > 0 ? details : undefined,
    retryable: code === 'MODEL_RATE_LIMITED' && !isTransient ? false : undefined,
  });
  const refusesRetry = headers?.get('x-should-retry') === 'false';
  return { error, isTransient: isTransient && !refusesRetry, retryAfterMs: requestedWaitMs };
}

/** True for the errors of the JSON and event parsers. */
const isNoEventStream = (thrown: unknown): boolean =>
  thrown instanceof SyntaxError || thrown instanceof RangeError;

/** The fabric's terms for a failure. */
interface Classified {
  code: ErrorCode;
  message: string;
  isTransient: boolean;
}

function networkFailure(thrown: unknown, { url }: FailureContext, delivered: boolean): Classified {
  const code = systemCode(thrown);
  if (/HEADERS_TIMEOUT|BODY_TIMEOUT/.test(code)) {
    return {
      code: 'MODEL_TIMEOUT',
      message: `The model server at ${url} did not answer in time: try again, or raise FAME_MODEL_TIMEOUT_MS.`,
      isTransient: false,
    };
  }
  if (/CERT|TLS|SSL|SELF_SIGNED/.test(code)) {
    return {
      code: 'MODEL_UNAVAILABLE',
      message: `The certificate of the model server at ${url} is not accepted (${code}): correct OPENAI_BASE_URL, or trust it with NODE_EXTRA_CA_CERTS.`,
      isTransient: false,
    };
  }
  if (isNoEventStream(thrown)) {
    return {
      code: 'MODEL_UNAVAILABLE',
      message: `The model server at ${url} did not send an event stream: check OPENAI_BASE_URL, which usually ends in /v1.`,
      isTransient: false,
    };
  }
  const why = NETWORK[code] ?? (code || 'connection failed');
  return {
    code: 'MODEL_UNAVAILABLE',
    message: delivered
      ? `The model server at ${url} broke off in the middle of its answer (${why}): ask again.`
      : `The model server at ${url} cannot be reached (${why}): check OPENAI_BASE_URL and that the server runs.`,
    isTransient: true,
  };
}

const CONTEXT_TOO_LONG =
  /context.{0,3}(?:length|window)|maximum context|too many tokens|prompt is too long|input is too long/i;

function serverFailure(caught: Caught, context: FailureContext): Classified {
  const { url, model } = context;
  const status = typeof caught.status === 'number' ? caught.status : undefined;
  const code = text(caught.code);
  const kind = `${code} ${text(caught.type)}`;
  const own = text((caught.error as { message?: unknown } | undefined)?.message);
  const reason = reasonOf(caught, context);
  const because = reason ? ` (${reason})` : '';

  if (code === 'model_not_found' || status === 404) {
    const aboutModel = code === 'model_not_found' || /model/i.test(own);
    return {
      code: 'MODEL_NOT_FOUND',
      message: aboutModel
        ? `The model server at ${url} does not know the model "${model}": set MODEL_NAME to a model that your key may use.`
        : `There is no Chat Completions API at ${url}: check OPENAI_BASE_URL, which usually ends in /v1, and MODEL_NAME ("${model}").`,
      isTransient: false,
    };
  }
  if (status === 401 || /invalid_api_key|authentication_error/.test(kind)) {
    return {
      code: 'MODEL_AUTH',
      message: `The model server at ${url} refused the key: set OPENAI_API_KEY to a valid key.`,
      isTransient: false,
    };
  }
  if (status === 403) {
    return {
      code: 'MODEL_AUTH',
      message: `The model server at ${url} does not let this key use the model "${model}": check the rights of OPENAI_API_KEY, its organization and its project.`,
      isTransient: false,
    };
  }
  if (status === 429 || /insufficient_quota|rate_limit/.test(kind)) {
    return /insufficient_quota|billing/.test(kind)
      ? {
          code: 'MODEL_RATE_LIMITED',
          message: `The quota of the key is used up at ${url}: check the plan and billing of the account.`,
          isTransient: false,
        }
      : {
          code: 'MODEL_RATE_LIMITED',
          message: `The model server at ${url} limits the rate of requests: wait and try again, or raise the limits of the account.`,
          isTransient: true,
        };
  }
  if (status === 408) {
    return {
      code: 'MODEL_TIMEOUT',
      message: `The model server at ${url} timed out: try again.`,
      isTransient: true,
    };
  }
  if (CONTEXT_TOO_LONG.test(`${kind} ${own}`) || status === 413) {
    return {
      code: 'MODEL_REFUSED',
      message: `The conversation is too long for the model "${model}": lower max_history_length, or set MODEL_NAME to a model with a larger context.`,
      isTransient: false,
    };
  }
  if (status === undefined || status >= 500 || status === 409) {
    return {
      code: 'MODEL_UNAVAILABLE',
      message: `The model server at ${url} failed${status ? ` with status ${status}` : ''}${because}: try again later.`,
      isTransient: true,
    };
  }
  return {
    code: 'MODEL_REFUSED',
    message: `The model server at ${url} refused the request with status ${status}${because}: correct the request, or set MODEL_NAME to a model that takes it.`,
    isTransient: false,
  };
}
