// Requests to a configured token issuer: its key set and its token endpoint. The URL always comes from the configuration. Answers
// are bounded in time and size, and redirects are refused, so that a request never leaves the configured host.
import { FabricError } from '../errors/error.ts';
import { isLoopbackHost } from '../link/loopback.ts';
import { tlsFault } from '../link/tls-fault.ts';
import { redactUrl } from '../text/redact-url.ts';

const TIMEOUT_MS = 3_000;
/** Room for the largest key sets of public issuers, some 30 KB. */
const MAX_CHARS = 262_144;

export interface IssuerReply {
  readonly status: number;
  /** The parsed JSON. */
  readonly body: unknown;
}

/**
 * Requests JSON from an issuer: by POST with `form`, else by GET.
 * @throws {LINK_TIMEOUT} if it cannot be reached, or the answer takes longer than 3 s
 * @throws {LINK_REFUSED} if the answer is a redirect, is not JSON or has more than 256 Ki characters, or the certificate is not accepted
 */
export async function requestIssuer(
  url: string,
  form?: Readonly<Record<string, string>>,
): Promise<IssuerReply> {
  const shown = redactUrl(url);
  try {
    const response = await fetch(url, {
      method: form === undefined ? 'GET' : 'POST',
      headers: { accept: 'application/json' },
      body: form === undefined ? null : new URLSearchParams(form),
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const { status } = response;
    if (status >= 300 && status < 400) {
      await response.body?.cancel();
      throw refused(`${shown} answered with a redirect (HTTP ${status}). Configure the final URL`);
    }
    return { status, body: parse(await readText(response, shown), shown, status) };
  } catch (error) {
    if (error instanceof FabricError) throw error;
    const fault = tlsFault(error);
    if (fault !== undefined) throw refused(`Cannot reach ${shown}. ${fault}`, error);
    throw new FabricError('LINK_TIMEOUT', `Cannot reach ${shown}: ${reasonOf(error)}`, { cause: error });
  }
}

async function readText(response: Response, shown: string): Promise<string> {
  let text = '';
  for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += piece;
    if (text.length > MAX_CHARS) throw refused(`${shown} answered with more than ${MAX_CHARS} characters`);
  }
  return text;
}

function parse(text: string, shown: string, status: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw refused(`${shown} answered HTTP ${status} without JSON`, cause);
  }
}

/** True for the URL of an issuer that may be used: https, or http on this machine. `allowsHttp` permits http to other machines. */
export function isIssuerUrl(text: string, allowsHttp: boolean): boolean {
  const url = URL.parse(text);
  if (url === null || url.hostname === '' || url.username !== '' || url.password !== '') return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && (allowsHttp || isLoopbackHost(url.hostname));
}

/** The accepted form of the URL of an issuer, for faults of the configuration. */
export const ISSUER_URL_FORM =
  'an https:// URL without a user name, or an http:// URL of this machine; FAME_ALLOW_HTTP_ISSUER=true permits http:// to other machines';

const refused = (message: string, cause?: unknown): FabricError =>
  new FabricError('LINK_REFUSED', message, { cause });

// `fetch` reports "fetch failed", with the reason as its cause.
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${TIMEOUT_MS / 1_000} s`;
  const { cause } = error as { cause?: Error & { code?: string } };
  return cause?.code ?? cause?.message ?? error.message;
}
