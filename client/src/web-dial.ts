// The WebSocket that browsers have (and Node, too): the `dial` of the client library where the ws package cannot be.
import { type Dial, FabricError, type Transport } from '@fame-fabric/shared';

const NORMAL_CLOSE = 1000;
/** What a WebSocket reports that ended without a closing handshake. */
const ABNORMAL_CLOSE = 1006;

class WebTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  readonly #socket: WebSocket;
  readonly #encoder = new TextEncoder();

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }: { data: ArrayBuffer | string }) => {
      this.onMessage?.(typeof data === 'string' ? this.#encoder.encode(data) : new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    socket.onerror = null; // a close event follows and says what can be said
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
    return true;
  }

  close(code = NORMAL_CLOSE, reason = ''): void {
    // Browsers allow 1000 and the application's own codes only.
    this.#socket.close(code === NORMAL_CLOSE || code >= 3000 ? code : NORMAL_CLOSE, reason);
  }

  // There is no way to end a browser's socket at once: the link hears of the end now, the socket closes on its own time.
  terminate(): void {
    this.#socket.close();
    this.#closed(ABNORMAL_CLOSE, '');
  }

  #closed(code: number, reason: string): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onMessage = undefined;
    onClose?.(code, reason);
  }
}

/** Opens a WebSocket. @throws {LINK_TIMEOUT} when it does not open in time. @throws {LINK_REFUSED} for a URL that is none. */
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
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.onopen = socket.onerror = socket.onclose = null;
    };
    const fail = (error: FabricError): void => {
      settle();
      socket.onerror = () => {}; // closing before it opened is reported as an error, to nobody
      socket.close();
      reject(error);
    };
    // Browsers do not tell why a connection failed, a page could look around with it.
    const onFail = (): void => fail(new FabricError('LINK_TIMEOUT', `Cannot reach ${url}`));
    const onAbort = (): void => fail(new FabricError('LINK_CLOSED', 'The dial was given up'));
    const timer = setTimeout(
      () => fail(new FabricError('LINK_TIMEOUT', `${url} did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.onopen = () => {
      settle();
      resolve(new WebTransport(socket));
    };
    socket.onerror = onFail;
    socket.onclose = onFail;
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort);
  });
