// Maps the failures of a model request to one error code and one sentence with the fix. Keys never appear in a message, nor
// in the cause, which is logged. The server's own words appear only if they do not quote the conversation.
import { type ErrorCode, FabricError } from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import type { WaitReason } from '../model.ts';
import { isAzure } from './base-url.ts';
import { type HeaderSource, retryAfterMs } from './model-retry.ts';
import { readServerError, type ServerError } from './server-error.ts';

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
  /** The kind of failure, reported with the wait before the next attempt. */
  readonly reason: WaitReason;
  /** The server's own reason in one line. */
  readonly message?: string | undefined;
}

/** The fields of an error that are read here. The error comes from the `openai` package, the network or an event in the stream. */
interface Caught {
  name?: unknown;
  message?: unknown;
  status?: unknown;
  code?: unknown;
  requestID?: unknown;
  error?: unknown;
  headers?: unknown;
  cause?: unknown;
}

const MAX_REASON_CHARS = 200;
const MAX_CAUSE_CHARS = 500;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Keys for servers that need none, such as "x" or "ollama": up to 3 characters, or up to 7 letters. They may be words of the message. */
const PLACEHOLDER = /^(?:.{0,3}|[a-z-]{0,7})$/i;

/** Removes keys from a text. */
function redact(message: string, apiKey = ''): string {
  const known = PLACEHOLDER.test(apiKey) ? message : message.replaceAll(apiKey, '[key]');
  return known
    .replace(/\b(?:sk|pk|key)-[\w*-]{4,}/gi, '[key]')
    .replace(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 [key]')
    .replace(/\/\/[^/\s@]+@/g, '//');
}

const quotesConversation = (message: string, { texts }: FailureContext): boolean =>
  texts.some((one) => one.length >= 4 && message.includes(one));

/** Returns the server's own reason in one short line, or an empty text if it quotes the conversation. */
function reasonOf({ reason }: ServerError, context: FailureContext): string {
  if (quotesConversation(reason, context)) return '';
  const line = redact(reason, context.apiKey).replace(/\s+/g, ' ').trim();
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
    return { error: thrown, isTransient: thrown.code === 'MODEL_UNAVAILABLE', reason: 'unreachable' };
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
  const isOfNetwork = status === undefined && !caught.error;
  const { code, message, isTransient, why } = isOfNetwork
    ? networkFailure(thrown, context, delivered)
    : serverFailure(readServerError(thrown), context);

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
  return {
    error,
    isTransient: isTransient && !refusesRetry,
    retryAfterMs: requestedWaitMs,
    reason: isOfNetwork ? 'unreachable' : (WAIT_REASONS[code] ?? 'server_failed'),
    message: why || undefined,
  };
}

const WAIT_REASONS: Partial<Record<ErrorCode, WaitReason>> = {
  MODEL_RATE_LIMITED: 'rate_limited',
  MODEL_TIMEOUT: 'timed_out',
};

/** True for the errors of the JSON and event parsers. */
const isNoEventStream = (thrown: unknown): boolean =>
  thrown instanceof SyntaxError || thrown instanceof RangeError;

/** The fabric's terms for a failure. */
interface Classified {
  code: ErrorCode;
  message: string;
  isTransient: boolean;
  /** The reason that the server or the network gave, if any. */
  why?: string;
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
      message: delivered
        ? `The model server at ${url} sent a broken event in the middle of its answer: ask again.`
        : `The model server at ${url} sent something that is not an event stream: check OPENAI_BASE_URL, which usually ends in /v1.`,
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
    why,
  };
}

/** A kind of refusal. The first match counts. */
interface RefusalKind {
  readonly matches: (error: ServerError, context: FailureContext) => boolean;
  readonly code: ErrorCode;
  /** First part of the message. The status and the reason follow it. */
  readonly what: (context: FailureContext, error: ServerError) => string;
  readonly hint: (context: FailureContext, error: ServerError) => string;
  /** @default false */
  readonly isTransient?: boolean;
}

const CONTEXT_TOO_LONG =
  /context.{0,3}(?:length|window|size)|maximum context|too many tokens|(?:prompt|input|request) is too (?:long|large)|exceeds? the (?:maximum|limit).{0,20}tokens/i;
const ANSWER_TOO_LONG =
  /max_(?:completion_|new_)?tokens|in the completion|completion tokens|output tokens|maximum allowed number of output/i;
const NO_CREDIT =
  /insufficient[_ ](?:quota|balance|credit|funds)|billing|out of credits|requires? more credits|exceeded your current quota|payment required/i;
const UNKNOWN_MODEL =
  /model_not_found|\bmodels?\b[^.]{0,120}\b(?:not found|not exist|not available|unknown|not supported|invalid|is not served|could not be found)|(?:unknown|invalid|unsupported|no such|not find) model/i;
const FILTERED = /content_filter|content_policy|content management policy|moderation|flagged/i;

const all = ({ kind, reason }: ServerError): string => `${kind} ${reason}`;

const KINDS: readonly RefusalKind[] = [
  {
    matches: ({ status }) => status !== undefined && status >= 300 && status < 400,
    code: 'MODEL_UNAVAILABLE',
    what: ({ url }) => `The model server at ${url} redirects requests`,
    hint: (_, { location }) =>
      `set OPENAI_BASE_URL to the address that it redirects to${location ? `, ${baseOf(location)}` : ''}`,
  },
  {
    matches: (error) => error.status === 402 || NO_CREDIT.test(all(error)),
    code: 'MODEL_RATE_LIMITED',
    what: ({ url }) => `The quota or credit of the key is used up at ${url}`,
    hint: () => 'check the plan and billing of the account',
  },
  {
    matches: (error) => error.status === 401 || /invalid_api_key|authentication_error/.test(error.kind),
    code: 'MODEL_AUTH',
    what: ({ url }) => `The model server at ${url} refused the key`,
    hint: () => 'set OPENAI_API_KEY to a valid key',
  },
  {
    matches: (error) => error.status === 403 && !FILTERED.test(all(error)),
    code: 'MODEL_AUTH',
    what: ({ url, model }) => `The model server at ${url} does not let this key use the model "${model}"`,
    hint: () => 'check the rights of OPENAI_API_KEY, its organization and its project',
  },
  {
    matches: (error) =>
      /model_not_found/.test(error.kind) || (error.status === 404 && UNKNOWN_MODEL.test(error.reason)),
    code: 'MODEL_NOT_FOUND',
    what: ({ url, model }) => `The model server at ${url} does not know the model "${model}"`,
    hint: () => 'set MODEL_NAME to a model that your key may use',
  },
  {
    // A wrong path has no reason, or one of the web server.
    matches: ({ status, reason }) =>
      (status === 404 || status === 405) && (reason.length < 40 || /not found|unknown path/i.test(reason)),
    code: 'MODEL_NOT_FOUND',
    what: ({ url }) => `There is no Chat Completions API at ${url}`,
    hint: (context) =>
      isAzure(context.url)
        ? 'check the name of the deployment in OPENAI_BASE_URL, which needs ?api-version=... at its end'
        : `check OPENAI_BASE_URL, which usually ends in /v1, and MODEL_NAME ("${context.model}")`,
  },
  {
    matches: ({ status }) => status === 404,
    code: 'MODEL_NOT_FOUND',
    what: ({ url, model }) => `The model server at ${url} cannot serve the model "${model}"`,
    hint: () => 'check the settings of the account, or set MODEL_NAME to another model',
  },
  {
    matches: (error) => error.status === 429 || /rate_limit/.test(error.kind),
    code: 'MODEL_RATE_LIMITED',
    what: ({ url }) => `The model server at ${url} limits the rate of requests`,
    hint: () => 'wait and try again, or raise the limits of the account',
    isTransient: true,
  },
  {
    matches: ({ status }) => status === 408,
    code: 'MODEL_TIMEOUT',
    what: ({ url }) => `The model server at ${url} timed out`,
    hint: () => 'try again',
    isTransient: true,
  },
  {
    matches: (error) => CONTEXT_TOO_LONG.test(all(error)) || error.status === 413,
    code: 'MODEL_REFUSED',
    what: ({ model }) => `The conversation is too long for the model "${model}"`,
    hint: (_, error) =>
      `${ANSWER_TOO_LONG.test(all(error)) ? 'lower FAME_MAX_ANSWER_TOKENS' : 'lower max_history_length'}, or set MODEL_NAME to a model with a larger context`,
  },
  {
    matches: ({ status }) => status === undefined || status >= 500 || status === 409 || status === 425,
    code: 'MODEL_UNAVAILABLE',
    what: ({ url }) => `The model server at ${url} failed`,
    hint: () => 'try again later',
    isTransient: true,
  },
  {
    matches: (error) => FILTERED.test(all(error)),
    code: 'MODEL_REFUSED',
    what: ({ url }) => `The content filter of the model server at ${url} refused the request`,
    hint: () => 'change the message',
  },
  {
    matches: (error) => isFailedSample(error),
    code: 'MODEL_REFUSED',
    what: ({ model }) => `The model "${model}" wrote a tool call that its server could not parse`,
    hint: () => 'ask again, or set MODEL_NAME to a model that is better at calling tools',
  },
  {
    matches: () => true,
    code: 'MODEL_REFUSED',
    what: ({ url }) => `The model server at ${url} refused the request`,
    hint: () => 'correct the request, or set MODEL_NAME to a model that takes it',
  },
];

/** True if the server could not parse the tool call that its model wrote. The same request may succeed. */
export const isFailedSample = (error: ServerError): boolean =>
  /tool_use_failed|failed to call a function|failed_generation|tool call validation failed/i.test(all(error));

/** The base URL behind a redirected request, without its query and credentials. */
function baseOf(location: string): string {
  const bare = location.replace(/[?#].*$/s, '').replace(/\/\/[^/\s@]+@/, '//');
  return cutText(bare.replace(/\/chat\/completions\/?$/, ''), MAX_REASON_CHARS);
}

function serverFailure(error: ServerError, context: FailureContext): Classified {
  const kind = KINDS.find(({ matches }) => matches(error, context))!;
  const reason = reasonOf(error, context);
  const cause = [error.status === undefined ? '' : `status ${error.status}`, reason]
    .filter(Boolean)
    .join(': ');
  const because = cause === '' ? '' : ` (${cause})`;
  return {
    code: kind.code,
    message: `${kind.what(context, error)}${because}: ${kind.hint(context, error)}.`,
    isTransient: kind.isTransient === true,
    why: reason,
  };
}
