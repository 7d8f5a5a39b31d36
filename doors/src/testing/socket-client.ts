// A WebSocket client of the Responses API, over a port of the test. Each message is checked against the published schemas.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket } from 'ws';
import type { DoorKit } from './door-kit.ts';
import { eventFaults } from './openai-exchange.ts';
import { schemaFaults } from './published-schemas.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests read fields of JSON, and a wrong one fails them.
type Json = any;

export interface SocketClient extends AsyncDisposable {
  readonly socket: WebSocket;
  /** Sends a message, and returns the events up to the end of the response, or up to an error. */
  send(message: unknown): Promise<Json[]>;
  /** Waits for the next event. */
  next(): Promise<Json>;
}

export interface SocketOptions {
  path?: string;
  headers?: Readonly<Record<string, string>>;
}

const ENDS: readonly string[] = ['response.completed', 'response.incomplete', 'response.failed', 'error'];

/** Connects. @throws the error of the upgrade, whose message has the status */
export async function connectSocket(
  kit: Pick<DoorKit, 'upgrade'>,
  { path = '/v1/responses', headers = {} }: SocketOptions = {},
): Promise<SocketClient> {
  const server = createServer();
  server.on('upgrade', (request, socket, head) => kit.upgrade(request, socket, head));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, {
    headers,
  });
  const events: Json[] = [];
  const waiting: ((event: Json) => void)[] = [];
  socket.on('message', (data) => {
    const event = JSON.parse(String(data));
    const waiter = waiting.shift();
    if (waiter) waiter(event);
    else events.push(event);
  });
  const close = async (): Promise<void> => {
    socket.terminate();
    server.closeAllConnections();
    server.close();
  };
  try {
    await once(socket, 'open');
  } catch (error) {
    await close();
    throw error;
  }
  const next = async (): Promise<Json> =>
    events.length > 0 ? events.shift() : new Promise((resolve) => waiting.push(resolve));
  return {
    socket,
    next,
    async send(message) {
      socket.send(typeof message === 'string' ? message : JSON.stringify(message));
      const answer: Json[] = [];
      do answer.push(await next());
      while (!ENDS.includes(answer.at(-1).type));
      const last = answer.at(-1);
      if (last.type === 'error') {
        const faults = schemaFaults('openresponses', 'WebSocketErrorEvent', last);
        if (faults.length > 0) throw new Error(faults.join('; '));
      } else {
        const sent = answer.map((event) => ({
          event: event.type,
          id: undefined,
          data: JSON.stringify(event),
        }));
        const faults = eventFaults([...sent, { event: undefined, id: undefined, data: '[DONE]' }]);
        if (faults.length > 0) throw new Error(faults.join('; '));
      }
      return answer;
    },
    [Symbol.asyncDispose]: close,
  };
}
