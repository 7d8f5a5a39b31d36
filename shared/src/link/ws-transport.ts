// Transport over `ws`, for Node processes. All writes of one turn of the event loop share one system call, because that call
// is the larger part of a message's cost. With one message at a time the added delay is not measurable.
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import WebSocket from 'ws';
import { systemClock } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { reasonOf } from '../errors/reason-of.ts';
import { LIMITS } from '../protocol/limits.ts';
import { cutText } from '../text/cut-text.ts';
import type { ClientCertificate } from './admission-url.ts';
import { tlsFault } from './tls-fault.ts';
import { type Dial, type DialOptions, isToken, type Transport } from './transport.ts';

const BINARY = Object.freeze({ binary: true });

/** Maximum size of a refusal's body, in characters. Longer ones have no reason. */
const MAX_REFUSAL_CHARS = 4_096;
/** Time in which that body must arrive, in ms. */
const REFUSAL_WITHIN_MS = 1_000;
const MAX_REASON_CHARS = 300;

class WsTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  readonly #ws: WebSocket;
  // `ws` does not document the socket. Without it, each write is a separate system call.
  readonly #socket: Pick<Socket, 'cork' | 'uncork'> | undefined;
  #corked = false;

  constructor(ws: WebSocket) {
    this.#ws = ws;
    const socket = (ws as unknown as { _socket?: Socket })._socket;
    if (typeof socket?.cork === 'function' && typeof socket.uncork === 'function') {
      this.#socket = socket;
      socket.on('drain', () => this.onDrain?.());
    }
    ws.on('message', (data: Buffer) => this.onMessage?.(data));
    ws.on('close', (code, reason) => this.#closed(code, reason.toString()));
    // A 'close' event follows every 'error' event.
    ws.on('error', () => {});
  }

  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    if (!this.#corked && this.#socket) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(uncork, this);
    }
    this.#ws.send(bytes, BINARY);
    return true;
  }

  uncork(): void {
    this.#corked = false;
    this.#socket?.uncork();
  }

  close(code = 1000, reason = ''): void {
    this.#ws.close(code, reason);
  }

  terminate(): void {
    this.#ws.terminate();
  }

  #closed(code: number, reason: string): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onMessage = undefined;
    onClose?.(code, reason);
  }
}

const uncork = (transport: WsTransport): void => transport.uncork();

/** Opens a WebSocket. @throws {LINK_TIMEOUT} when the server is unreachable. @throws {LINK_REFUSED} when it refuses. */
export const wsDial: Dial = (url, options) => dial(url, options, {});

/**
 * Returns a dial that sends a client certificate to `wss://` URLs. The files are read for each attempt, so that a renewed certificate
 * is used without a restart. @throws {CONFIG_INVALID} when a file cannot be read or used
 */
export const wsDialWith =
  (certificate: ClientCertificate | undefined): Dial =>
  async (url, options) =>
    dial(url, options, certificate === undefined ? {} : readCertificate(certificate));

function readCertificate({ certFile, keyFile }: ClientCertificate): { cert: string; key: string } {
  const read = (name: string, file: string): string => {
    try {
      return readFileSync(file, 'utf8');
    } catch (cause) {
      const text = `${name} is "${file}", which cannot be read: ${reasonOf(cause)}`;
      throw new FabricError('CONFIG_INVALID', text, { cause });
    }
  };
  const pem = { cert: read('FAME_CLIENT_CERT_FILE', certFile), key: read('FAME_CLIENT_KEY_FILE', keyFile) };
  try {
    createSecureContext(pem);
  } catch (cause) {
    const text = `The files of FAME_CLIENT_CERT_FILE and FAME_CLIENT_KEY_FILE cannot be used: ${(cause as Error).message}. They need a certificate and its private key in PEM format`;
    throw new FabricError('CONFIG_INVALID', text, { cause });
  }
  return pem;
}

const dial = (
  url: string,
  { timeoutMs, token, signal }: DialOptions,
  certificate: { cert?: string; key?: string },
): Promise<Transport> =>
  new Promise((resolve, reject) => {
    if (token && !isToken(token)) {
      reject(
        new FabricError(
          'LINK_REFUSED',
          'The token has a blank or another character that a header cannot carry',
        ),
      );
      return;
    }
    let ws: WebSocket;
    try {
      ws = new WebSocket(url, {
        headers: token ? { authorization: `Bearer ${token}` } : {},
        perMessageDeflate: false,
        maxPayload: LIMITS.maxFrameBytes,
        handshakeTimeout: timeoutMs,
        ...certificate,
      });
    } catch (cause) {
      reject(new FabricError('LINK_REFUSED', `Cannot dial ${url}: ${(cause as Error).message}`, { cause }));
      return;
    }
    const onAbort = (): void => fail(new FabricError('LINK_CLOSED', 'The dial was aborted'));
    const done = (): void => {
      ws.removeAllListeners();
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (error: FabricError): void => {
      done();
      // Terminating a socket that is still connecting emits an error.
      ws.on('error', () => {});
      ws.terminate();
      reject(error);
    };
    ws.once('open', () => {
      done();
      resolve(new WsTransport(ws));
    });
    ws.once('error', (cause: Error) => {
      if (isParseFault(cause)) {
        const text = `The server at ${url} is not a sentinel: its answer is not HTTP`;
        fail(new FabricError('LINK_REFUSED', text, { cause, details: { answer: 'not-http' } }));
        return;
      }
      const fault = tlsFault(cause);
      fail(
        fault === undefined
          ? new FabricError('LINK_TIMEOUT', `Cannot reach ${url}: ${reason(cause)}`, { cause })
          : new FabricError('LINK_REFUSED', `Cannot reach ${url}. ${fault}`, { cause }),
      );
    });
    ws.once('unexpected-response', async (_request, response) => {
      const status = response.statusCode ?? 0;
      const why = await reasonIn(response);
      fail(
        new FabricError(
          status >= 400 && status < 500 && status !== 429 ? 'LINK_REFUSED' : 'LINK_TIMEOUT',
          `${url} answered HTTP ${status} ${response.statusMessage ?? ''}`.trim() + (why ? `: ${why}` : ''),
          { details: { status, ...(why && { reason: why }) } },
        ),
      );
    });
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });

/** True for an error of the HTTP parser of Node. */
const isParseFault = ({ code }: Error & { code?: string }): boolean => code?.startsWith('HPE_') ?? false;

/** Reads the reason in the body of a refusal, `{ error: { message } }`. Returns undefined if there is none. */
function reasonIn(response: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve) => {
    let body = '';
    const finish = (): void => {
      timer.stop();
      resolve(errorMessageOf(body));
    };
    const timer = systemClock.after(REFUSAL_WITHIN_MS, finish);
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      body += chunk;
      if (body.length > MAX_REFUSAL_CHARS) finish();
    });
    for (const event of ['end', 'close', 'error']) response.once(event, finish);
  });
}

function errorMessageOf(body: string): string | undefined {
  try {
    const { message } = (JSON.parse(body) as { error: { message?: unknown } }).error;
    return typeof message === 'string' ? cutText(message, MAX_REASON_CHARS) : undefined;
  } catch {
    return undefined; // not the body of a refusal by a sentinel
  }
}

// A refused connection to a host with several addresses is reported as an AggregateError with an empty message.
const reason = (error: Error & { code?: string; errors?: Error[] }): string =>
  error.message || error.errors?.[0]?.message || error.code || error.name;
