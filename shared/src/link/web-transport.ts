// The WebSocket of browsers (and of any runtime with the global). It knows no terminate, no status of a refused upgrade,
// and only some close codes; otherwise it is `ws-transport.ts`.
import { FabricError } from '../errors/error.ts';
import type { Dial, Transport } from './transport.ts';

class WebTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  readonly #socket: WebSocket;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }: MessageEvent) => this.onMessage?.(bytesOf(data));
    socket.onclose = ({ code, reason }: CloseEvent) => this.#closed(code, reason);
    // 'close' follows and says the same.
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

  /** Pages may only say 1000 or 3000 to 4999; anything else goes out as 1000. */
  close(code = 1000, reason = ''): void {
    const allowed = code === 1000 || (code >= 3000 && code <= 4999);
    this.#socket.close(allowed ? code : 1000, reason);
  }

  /** A page cannot cut a connection off: it says goodbye and stops listening. */
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

/**
 * Opens a WebSocket in a browser. @throws {LINK_TIMEOUT} when it did not open; browsers do not tell why, so a refusal
 * during the upgrade looks the same. @throws {LINK_REFUSED} when the URL is not one.
 */
export const webDial: Dial = (url, { timeoutMs, token, signal }) =>
  new Promise((resolve, reject) => {
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
    const onAbort = (): void => fail(new FabricError('LINK_CLOSED', 'The dial was given up'));
    const timer = setTimeout(
      () => fail(new FabricError('LINK_TIMEOUT', `${url} did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.onopen = () => {
      done();
      resolve(new WebTransport(socket));
    };
    socket.onerror = socket.onclose = () =>
      fail(new FabricError('LINK_TIMEOUT', `Cannot reach ${url}: the connection did not open`));
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });
