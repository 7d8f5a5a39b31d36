// Outbound HTTP to URLs that a stranger supplied. The address is checked by the lookup whose result the socket uses, so a name
// that resolves differently later gains nothing. Redirects, proxies and kept connections are off; scheme, port, time and sizes
// are limited. docs/errors.md has the codes.
import { lookup as systemLookup } from 'node:dns/promises';
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { request as secureRequest, Agent as TlsAgent } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { type Clock, FabricError, isFabricError, systemClock } from '@fame-fabric/shared';
import { timeText } from '@fame-fabric/shared/internal';
import { addressSet, isPublicAddress } from './public-address.ts';

interface SafeFetchRequest {
  /** @default 'GET' */
  method?: string | undefined;
  headers?: Record<string, string> | undefined;
  body?: string | undefined;
  signal?: AbortSignal | undefined;
}

interface SafeFetchResponse {
  status: number;
  /** Redirects are returned and not followed. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: string;
}

/** Fetches a URL that a stranger supplied. */
export interface SafeFetch {
  /** @throws {OUTBOUND_FORBIDDEN | OUTBOUND_FAILED | MESSAGE_TOO_LARGE | CALL_CANCELLED} */
  (url: string, request?: SafeFetchRequest): Promise<SafeFetchResponse>;
  /** Checks a URL without a DNS lookup. @throws {OUTBOUND_FORBIDDEN} */
  check(url: string): void;
}

export interface SafeFetchOptions {
  /** Also accepts `http:` URLs. @default false */
  allowHttp?: boolean | undefined;
  /** Allowed ports. @default [443, 8443] */
  ports?: readonly number[] | undefined;
  /** Allowed addresses or ranges that are not public, such as `10.1.2.0/24`. @default none */
  allowAddresses?: readonly string[] | undefined;
  /** Time for the whole exchange, in ms. @default 5_000 */
  timeoutMs?: number | undefined;
  /** Largest body, sent or received, in bytes. @default 65_536 */
  maxBytes?: number | undefined;
  /** Resolves a host name. @default the system's resolver */
  resolve?: ((hostname: string) => Promise<readonly { address: string; family: number }[]>) | undefined;
  clock?: Clock | undefined;
}

const MAX_URL_LENGTH = 2_048;
const LOCAL_NAMES = /(?:^|\.)(?:localhost|local|internal|intranet|lan|home\.arpa)$/;

const forbidden = (what: string): FabricError => new FabricError('OUTBOUND_FORBIDDEN', `The URL ${what}`);
const failed = (what: string, cause?: unknown): FabricError =>
  new FabricError('OUTBOUND_FAILED', what, { cause });

/** Makes a SafeFetch. Without options it reaches only public https servers. */
export function createSafeFetch(options: SafeFetchOptions = {}): SafeFetch {
  const ports = options.ports ?? [443, 8443];
  const timeoutMs = options.timeoutMs ?? 5_000;
  const maxBytes = options.maxBytes ?? 65_536;
  const clock = options.clock ?? systemClock;
  const allowed = addressSet(options.allowAddresses ?? []);
  const resolve = options.resolve ?? ((hostname) => systemLookup(hostname, { all: true }));

  const mayReach = (address: string): boolean => {
    const family = isIP(address);
    if (family === 0 || address.includes('%')) return false;
    return isPublicAddress(address) || allowed.check(address, family === 4 ? 'ipv4' : 'ipv6');
  };

  const readUrl = (text: string): URL => {
    if (text.length > MAX_URL_LENGTH) throw forbidden(`is longer than ${MAX_URL_LENGTH} characters`);
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url) throw forbidden('cannot be read');
    const isPlain = url.protocol === 'http:';
    if (url.protocol !== 'https:' && !(isPlain && options.allowHttp))
      throw forbidden('must begin with https://');
    if (url.username !== '' || url.password !== '') throw forbidden('contains a user name or password');
    const port = url.port === '' ? (isPlain ? 80 : 443) : Number(url.port);
    if (!ports.includes(port)) throw forbidden(`names port ${port}; allowed are ${ports.join(', ')}`);
    const host = hostOf(url);
    if (isIP(host) === 0) {
      if (LOCAL_NAMES.test(host) || !host.includes('.')) throw forbidden('names a host of a local network');
    } else if (!mayReach(host)) throw forbidden('names an address that is not public');
    return url;
  };

  // Every address must be allowed: the socket may try them all.
  const guardedLookup: LookupFunction = (hostname, lookupOptions, callback) => {
    const answer = async (): Promise<{ address: string; family: number }[]> => {
      const found = (await resolve(hostname)).map(({ address }) => ({ address, family: isIP(address) }));
      if (found.length === 0) throw failed('The host of the URL has no address');
      if (!found.every(({ address }) => mayReach(address))) {
        throw forbidden('names a host whose address is not public');
      }
      return found;
    };
    answer().then(
      (found) => {
        if (lookupOptions.all) callback(null, found);
        else callback(null, found[0]!.address, found[0]!.family);
      },
      (error: Error) => callback(error, '', 0),
    );
  };

  const send = (url: URL, request: SafeFetchRequest): Promise<SafeFetchResponse> =>
    new Promise((fulfil, reject) => {
      const isPlain = url.protocol === 'http:';
      const open = isPlain ? plainRequest : secureRequest;
      // The global agent may keep connections, or use a proxy that skips the check.
      const agent = new (isPlain ? PlainAgent : TlsAgent)({ keepAlive: false });
      const body = request.body ?? '';
      const outgoing = open(
        url,
        {
          method: request.method ?? 'GET',
          headers: { ...request.headers, ...(body ? { 'content-length': Buffer.byteLength(body) } : {}) },
          agent,
          lookup: guardedLookup,
        },
        (response) => {
          readBody(response, maxBytes).then((text) => {
            settle(() => fulfil({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
          }, fail);
        },
      );
      const settle = (how: () => void): void => {
        timer.stop();
        request.signal?.removeEventListener('abort', onAbort);
        outgoing.destroy();
        agent.destroy();
        how();
      };
      const fail = (error: unknown): void => {
        settle(() => reject(isFabricError(error) ? error : failed('The URL could not be fetched', error)));
      };
      const onAbort = (): void => fail(new FabricError('CALL_CANCELLED', 'The fetch was cancelled'));
      const timer = clock.after(timeoutMs, () =>
        fail(failed(`The URL did not answer in ${timeText(timeoutMs)}`)),
      );
      request.signal?.addEventListener('abort', onAbort, { once: true });
      outgoing.on('error', fail);
      outgoing.end(body);
    });

  const safeFetch = async (text: string, request: SafeFetchRequest = {}): Promise<SafeFetchResponse> => {
    const url = readUrl(text);
    if (Buffer.byteLength(request.body ?? '') > maxBytes) {
      throw new FabricError('MESSAGE_TOO_LARGE', `The body to send is larger than ${maxBytes} bytes`);
    }
    if (request.signal?.aborted) throw new FabricError('CALL_CANCELLED', 'The fetch was cancelled');
    try {
      return await send(url, request);
    } catch (error) {
      // For example, the request refuses a header with a line break.
      throw isFabricError(error) ? error : failed('The request could not be made', error);
    }
  };
  return Object.assign(safeFetch, { check: (url: string) => void readUrl(url) });
}

/** Returns the host as a name without a final dot, or as an IP address without brackets. */
const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');

async function readBody(response: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.byteLength;
    if (size > maxBytes) throw failed(`The answer is larger than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
