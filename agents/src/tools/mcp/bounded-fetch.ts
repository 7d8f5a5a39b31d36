// The `fetch` of MCP servers, which the operator configures. It limits the size of responses.
import { MAX_MESSAGE_BYTES } from './mcp-options.ts';

/**
 * Makes a `fetch` for URLs of a configured MCP server. A response with a larger body than `MAX_MESSAGE_BYTES` fails while it is read, and
 * `onTooLarge` is called: the library may not notice. Streams for messages outside of a call are not opened, because the client offers the
 * server no operation; a stream that continues the answer to a call is.
 */
export const boundedFetch =
  (onTooLarge: (error: Error) => void) =>
  async (input: string | URL, init: RequestInit = {}): Promise<Response> => {
    if ((init.method ?? 'GET') === 'GET' && !new Headers(init.headers).has('last-event-id')) {
      return new Response(null, { status: 405 });
    }
    const response = await fetch(input, init);
    if (!response.body) return response;
    let bytes = 0;
    const counter = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength;
        if (bytes <= MAX_MESSAGE_BYTES) {
          controller.enqueue(chunk);
          return;
        }
        const error = new Error(`its answer is larger than ${MAX_MESSAGE_BYTES} bytes`);
        controller.error(error);
        onTooLarge(error);
      },
    });
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(counter), { status, statusText, headers });
  };
