// The `fetch` of MCP servers, which the operator configures. It limits the size of responses, and reports an answer that breaks off.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Clock } from '@fame-fabric/shared';
import { MAX_MESSAGE_BYTES } from './mcp-options.ts';

/** Time that the library has to deliver the answer after the end of its stream. */
const DELIVERY_MS = 1_000;

export class BoundedFetch {
  readonly #clock: Clock;
  readonly #onTooLarge: (error: Error) => void;
  /** Fails the call whose request is sent. */
  readonly #failCall = new AsyncLocalStorage<(error: Error) => void>();

  /** @param onTooLarge called for a body that is larger than `MAX_MESSAGE_BYTES`, because the library may not notice */
  constructor(clock: Clock, onTooLarge: (error: Error) => void) {
    this.#clock = clock;
    this.#onTooLarge = onTooLarge;
  }

  /** Runs a call. Rejects if the stream of its answer breaks off; the library would wait until its time limit. */
  async watch<T>(call: () => Promise<T>): Promise<T> {
    const broken = Promise.withResolvers<never>();
    return Promise.race([this.#failCall.run(broken.reject, call), broken.promise]);
  }

  /**
   * The `fetch` of the library. Streams for messages outside of a call are not opened, because the client offers the server no operation; a
   * stream that continues the answer to a call is.
   */
  readonly fetch = async (input: string | URL, init: RequestInit = {}): Promise<Response> => {
    const { method = 'GET' } = init;
    if (method === 'GET' && !new Headers(init.headers).has('last-event-id')) {
      return new Response(null, { status: 405 });
    }
    const response = await fetch(input, init);
    if (!response.body) return response;
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') ?? false;
    const failCall = method === 'POST' && isStream ? this.#failCall.getStore() : undefined;
    const { status, statusText, headers } = response;
    return new Response(this.#bounded(response.body, failCall), { status, statusText, headers });
  };

  #bounded(
    body: ReadableStream<Uint8Array>,
    failCall: ((error: Error) => void) | undefined,
  ): ReadableStream<Uint8Array> {
    const reader = body.getReader();
    let bytes = 0;
    let tail = '\n';
    /** True if the stream has an event with an id: the library then requests the rest. */
    let isResumable = false;
    return new ReadableStream({
      pull: async (controller) => {
        try {
          const { done, value } = await reader.read();
          if (done) {
            if (failCall && !isResumable) {
              this.#clock.after(DELIVERY_MS, () => failCall(new Error('its answer ended early')));
            }
            controller.close();
            return;
          }
          bytes += value.byteLength;
          if (bytes > MAX_MESSAGE_BYTES) {
            const error = new Error(`its answer is larger than ${MAX_MESSAGE_BYTES} bytes`);
            controller.error(error);
            this.#onTooLarge(error);
            await reader.cancel(error);
            return;
          }
          if (failCall && !isResumable) {
            const text =
              tail + Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('latin1');
            isResumable = /[\r\n]id:/.test(text);
            tail = text.slice(-4);
          }
          controller.enqueue(value);
        } catch (error) {
          if (failCall && !isResumable) failCall(error as Error);
          controller.error(error);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
  }
}
