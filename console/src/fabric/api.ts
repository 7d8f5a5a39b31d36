// Requests to the sentinel that serves the page. They carry the cookie of the session, or the key that the page keeps in memory.
import { FabricError, isErrorCode } from '@fame-fabric/shared';

/** The key of a person who did not choose to be remembered. Only this page has it; a reload forgets it. */
let key: string | undefined;

export const keyInMemory = (): string | undefined => key;
export function keepKey(value: string | undefined): void {
  key = value;
}

/** Path of the session of this page. */
export const SESSION_PATH = '/fame/v1/session';

let onUnauthorized = (): void => {};
/** Calls `run` when the sentinel refuses the credential of the page, except for requests about the session itself. */
export function whenUnauthorized(run: () => void): void {
  onUnauthorized = run;
}

/** The sentinel answered with an error. `status` is that of HTTP. */
class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status: number) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Requests a path of the sentinel. @throws {ApiError} for an answer with an error @throws {LINK_TIMEOUT} if nothing answers */
export async function requestPath(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (key !== undefined) headers.set('authorization', `Bearer ${key}`);
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers });
  } catch (cause) {
    if (init.signal?.aborted) throw cause;
    throw new FabricError('LINK_TIMEOUT', 'The sentinel does not answer', { cause });
  }
  if (response.ok) return response;
  if (response.status === 401 && path !== SESSION_PATH) onUnauthorized();
  throw await errorOf(response);
}

async function errorOf(response: Response): Promise<ApiError> {
  const { status, statusText } = response;
  const body: unknown = await response.json().catch(() => undefined);
  const { error } = Object(body) as { error?: unknown };
  const { code, message } = Object(error ?? body) as { code?: unknown; message?: unknown };
  return new ApiError(
    typeof code === 'string' ? code : `HTTP_${status}`,
    typeof message === 'string' ? message : `The sentinel answered ${status} ${statusText}`.trim(),
    status,
  );
}

/** Requests JSON. `T` is the expected type of the answer; it is not checked. @throws like `requestPath` */
export const requestJson = async <T>(path: string, init?: RequestInit): Promise<T> =>
  (await (await requestPath(path, init)).json()) as T;

/** Sends `body` as JSON. @throws like `requestPath` */
export const sendJson = (path: string, body: unknown, method = 'POST'): Promise<Response> =>
  requestPath(path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

/** True for an answer to a request without a valid credential. */
export const isUnauthorized = (error: unknown): boolean =>
  (error instanceof ApiError && error.status === 401) ||
  (error instanceof Error &&
    'code' in error &&
    isErrorCode(String(error.code)) &&
    ['AUTH_MISSING', 'AUTH_INVALID', 'AUTH_EXPIRED'].includes(String(error.code)));
