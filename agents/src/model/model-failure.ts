// Turns what can go wrong on the way to a model server into one code and one sentence with the fix. Keys never get into a
// message, nor into the cause that goes to the log; a server's own words only when they do not quote the conversation.
import { type ErrorCode, FabricError } from '@fame-fabric/shared';
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

export interface ModelFailure {
  readonly error: FabricError;
  /** Whether sending the same request again can help. */
  readonly again: boolean;
  /** The wait that the server asked for. */
  readonly retryAfterMs?: number;
}

/** What the library's errors have in common with those of fetch, as far as it is read here. */
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

const MAX_REASON = 200;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Removes keys from a text. */
export function redact(message: string, apiKey: string | undefined): string {
  const known = apiKey ? message.replaceAll(apiKey, '[key]') : message;
  return known
    .replace(/\b(?:sk|pk|key)-[\w*-]{4,}/gi, '[key]')
    .replace(/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 [key]')
    .replace(/\/\/[^/\s@]+@/g, '//');
}

const repeats = (own: string, { texts }: FailureContext): boolean =>
  texts.some((said) => said.length >= 4 && own.includes(said));

/** The server's own reason in one short line; empty when it repeats what was said in the conversation. */
function reasonOf(caught: Caught, context: FailureContext): string {
  const own = text((caught.error as { message?: unknown } | undefined)?.message);
  const line = redact(own, context.apiKey).replace(/\s+/g, ' ').trim();
  if (repeats(own, context)) return '';
  return line.slice(0, MAX_REASON).replace(/[.\s]+$/, '');
}

/** The code of the innermost system error: ECONNREFUSED. */
function systemCode(error: unknown): string {
  let code = '';
  for (let one = error as Caught | undefined, depth = 0; one && depth < 6; depth += 1) {
    if (typeof one.code === 'string') code = one.code;
    const inner = one as { cause?: unknown; errors?: unknown };
    one = (inner.cause ?? (Array.isArray(inner.errors) ? inner.errors[0] : undefined)) as Caught | undefined;
  }
  return code;
}

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

/** Says what went wrong. `delivered`: part of the answer has been handed on, so it cannot be asked for again. */
export function modelFailure(thrown: unknown, context: FailureContext, delivered: boolean): ModelFailure {
  // Ours already: an answer that broke off may be asked for again, a server that stays silent has had its time.
  if (thrown instanceof FabricError) return { error: thrown, again: thrown.code === 'MODEL_UNAVAILABLE' };
  const caught = (
    typeof thrown === 'object' && thrown !== null ? thrown : { message: String(thrown) }
  ) as Caught;
  const status = typeof caught.status === 'number' ? caught.status : undefined;
  const headers = caught.headers as HeaderSource | undefined;
  const asked = retryAfterMs(typeof headers?.get === 'function' ? headers : undefined, context.nowMs);
  const told =
    status === undefined && !caught.error
      ? networkFailure(thrown, context, delivered)
      : serverFailure(caught, context);

  const cause = new Error(redact(text(caught.message), context.apiKey).slice(0, 500));
  cause.name = text(caught.name) || 'Error';
  // What a server says may repeat the conversation; the log gets it only when it does not. A parser's error quotes its text.
  if (isNoStream(thrown) || repeats(text(caught.message), context)) {
    cause.message = isNoStream(thrown) ? 'not an event stream' : `status ${status ?? 'none'}`;
  }
  const details = {
    ...(status === undefined ? {} : { status }),
    ...(typeof caught.requestID === 'string' ? { requestId: caught.requestID } : {}),
    ...(asked === undefined ? {} : { retryAfterMs: Math.round(asked) }),
  };
  const refusesRetry = typeof headers?.get === 'function' && headers.get('x-should-retry') === 'false';
  const error = new FabricError(told.code, told.message, {
    cause,
    ...(Object.keys(details).length > 0 ? { details } : {}),
    ...(told.code === 'MODEL_RATE_LIMITED' && !told.again ? { retryable: false } : {}),
  });
  return {
    error,
    again: told.again && !refusesRetry,
    ...(asked === undefined ? {} : { retryAfterMs: asked }),
  };
}

// JSON or events that are none.
const isNoStream = (thrown: unknown): boolean =>
  thrown instanceof SyntaxError || thrown instanceof RangeError;

interface Told {
  code: ErrorCode;
  message: string;
  again: boolean;
}

function networkFailure(thrown: unknown, { url }: FailureContext, delivered: boolean): Told {
  const code = systemCode(thrown);
  if (/HEADERS_TIMEOUT|BODY_TIMEOUT/.test(code)) {
    return {
      code: 'MODEL_TIMEOUT',
      message: `The model server at ${url} did not answer in time: try again, or raise FAME_MODEL_TIMEOUT_MS.`,
      again: false,
    };
  }
  if (/CERT|TLS|SSL|SELF_SIGNED/.test(code)) {
    return {
      code: 'MODEL_UNAVAILABLE',
      message: `The certificate of the model server at ${url} is not accepted (${code}): correct OPENAI_BASE_URL, or trust it with NODE_EXTRA_CA_CERTS.`,
      again: false,
    };
  }
  if (isNoStream(thrown)) {
    return {
      code: 'MODEL_UNAVAILABLE',
      message: `The model server at ${url} sent something that is not an event stream: check OPENAI_BASE_URL, which usually ends in /v1.`,
      again: false,
    };
  }
  const why = NETWORK[code] ?? (code || 'connection failed');
  return {
    code: 'MODEL_UNAVAILABLE',
    message: delivered
      ? `The model server at ${url} broke off in the middle of its answer (${why}): ask again.`
      : `The model server at ${url} cannot be reached (${why}): check OPENAI_BASE_URL and that the server runs.`,
    again: true,
  };
}

const CONTEXT_TOO_LONG =
  /context.{0,3}(?:length|window)|maximum context|too many tokens|prompt is too long|input is too long/i;

function serverFailure(caught: Caught, context: FailureContext): Told {
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
      again: false,
    };
  }
  if (status === 401 || /invalid_api_key|authentication_error/.test(kind)) {
    return {
      code: 'MODEL_AUTH',
      message: `The model server at ${url} refused the key: set OPENAI_API_KEY to a valid key.`,
      again: false,
    };
  }
  if (status === 403) {
    return {
      code: 'MODEL_AUTH',
      message: `The model server at ${url} does not let this key use the model "${model}": check the rights of OPENAI_API_KEY, its organization and its project.`,
      again: false,
    };
  }
  if (status === 429 || /insufficient_quota|rate_limit/.test(kind)) {
    return /insufficient_quota|billing/.test(kind)
      ? {
          code: 'MODEL_RATE_LIMITED',
          message: `The quota of the key is used up at ${url}: check the plan and billing of the account.`,
          again: false,
        }
      : {
          code: 'MODEL_RATE_LIMITED',
          message: `The model server at ${url} gets too many requests: wait and try again, or raise the limits of the account.`,
          again: true,
        };
  }
  if (status === 408) {
    return {
      code: 'MODEL_TIMEOUT',
      message: `The model server at ${url} timed out: try again.`,
      again: true,
    };
  }
  if (CONTEXT_TOO_LONG.test(`${kind} ${own}`) || status === 413) {
    return {
      code: 'MODEL_REFUSED',
      message: `The conversation is too long for the model "${model}": lower max_history_length, or set MODEL_NAME to a model with a larger context.`,
      again: false,
    };
  }
  if (status === undefined || status >= 500 || status === 409) {
    return {
      code: 'MODEL_UNAVAILABLE',
      message: `The model server at ${url} failed${status ? ` with status ${status}` : ''}${because}: try again later.`,
      again: true,
    };
  }
  return {
    code: 'MODEL_REFUSED',
    message: `The model server at ${url} refused the request with status ${status}${because}: correct the request, or set MODEL_NAME to a model that takes it.`,
    again: false,
  };
}
