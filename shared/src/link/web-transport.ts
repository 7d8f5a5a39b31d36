// Transport over the WebSocket global of browsers and other runtimes. It differs from `ws-transport.ts` where that API is
// limited: no terminate, no status of a refused upgrade, and few close codes.
import { FabricError } from '../errors/error.ts';
import { timeText } from '../text/time-text.ts';
import type { Dial, Transport } from './transport.ts';

class WebTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }: MessageEvent) => this.onMessage?.(bytesOf(data));
    socket.onclose = ({ code, reason }: CloseEvent) => this.#closed(code, reason);
    // A 'close' event follows every 'error' event.
    socket.onerror = null;
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
    return true;
  }

  /** Pages may send only 1000 and 3000 to 4999; other codes are sent as 1000. */
  close(code = 1000, reason = ''): void {
    const allowed = code === 1000 || (code >= 3000 && code <= 4999);
    this.#socket.close(allowed ? code : 1000, reason);
  }

  /** A page cannot terminate a connection: this starts the closing handshake and ignores further events. */
  terminate(): void {
    this.#socket.close();
    this.#closed(1006, '');
  }

  #closed(code: number, reason: string): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onMessage = undefined;
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    onClose?.(code, reason);
  }
}

const encoder = new TextEncoder();
const bytesOf = (data: unknown): Uint8Array =>
  typeof data === 'string' ? encoder.encode(data) : new Uint8Array(data as ArrayBuffer);

/** Characters of a subprotocol. A browser would quote a token with another one in its error. */
const PROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/;

/** Names likely causes of a connection that did not open, because browsers report none. Empty outside of pages. */
function originHint(): string {
  const { origin } = (globalThis as { location?: { origin?: string } }).location ?? {};
  return origin === undefined
    ? ''
    : `. No sentinel answers there, or its FAME_ALLOWED_ORIGINS does not list the origin of this page, ${origin}`;
}

/**
 * Opens a WebSocket in a browser.
 * @throws {LINK_TIMEOUT} when it did not open, or the server refused; browsers do not report which
 * @throws {LINK_REFUSED} when the URL is invalid
 */
export const webDial: Dial = (url, { timeoutMs, token, signal }) =>
  new Promise((resolve, reject) => {
    if (token && !PROTOCOL.test(token)) {
      reject(new FabricError('LINK_REFUSED', 'The token has a character that a subprotocol cannot carry'));
      return;
    }
    let socket: WebSocket;
    try {
      socket = new WebSocket(url, token ? ['bearer', token] : []);
    } catch (cause) {
      reject(new FabricError('LINK_REFUSED', `Cannot dial ${url}: ${(cause as Error).message}`, { cause }));
      return;
    }
    socket.binaryType = 'arraybuffer';
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.onopen = socket.onclose = socket.onerror = null;
    };
    const fail = (error: FabricError): void => {
      done();
      socket.close();
      reject(error);
    };
    const onAbort = (): void => fail(new FabricError('LINK_CLOSED', 'The dial was aborted'));
    const timer = setTimeout(
      () => fail(new FabricError('LINK_TIMEOUT', `${url} did not answer within ${timeText(timeoutMs)}`)),
      timeoutMs,
    );
    socket.onopen = () => {
      done();
      resolve(new WebTransport(socket));
    };
    socket.onerror = socket.onclose = () =>
      fail(
        new FabricError('LINK_TIMEOUT', `Cannot reach ${url}: the connection did not open${originHint()}`),
      );
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });
