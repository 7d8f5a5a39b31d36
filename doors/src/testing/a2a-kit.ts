// Requests of an A2A client to a door without a port.
import type { Readable } from 'node:stream';
import type { DoorKit } from './door-kit.ts';

// biome-ignore lint/suspicious/noExplicitAny: the tests check the fields of answers
export type Json = Record<string, any>;

/** The fields of a message of the user. `id` is the message id. */
export const messageOf = (text: string, id: string, fields: Json = {}): Json => ({
  messageId: id,
  role: 'ROLE_USER',
  parts: [{ text }],
  ...fields,
});

export interface RpcOptions {
  /** @default '/a2a' */
  url?: string;
  headers?: Record<string, string>;
}

const V1 = { 'a2a-version': '1.0', 'content-type': 'application/json' };

/** Sends a JSON-RPC request of version 1.0, and returns its response. */
export async function rpc(
  kit: DoorKit,
  method: string,
  params: Json,
  options: RpcOptions = {},
): Promise<Json> {
  const { url = '/a2a', headers } = options;
  const payload = { jsonrpc: '2.0', id: 1, method, params };
  const response = await kit.inject({ method: 'POST', url, headers: { ...V1, ...headers }, payload });
  return response.json();
}

/** A stream of updates that is read one by one. */
export interface UpdateReader {
  /** Resolves with the next update: `task`, `statusUpdate`, `artifactUpdate`, `message` or `error`. Undefined at the end. */
  next(): Promise<Json | undefined>;
  rest(): Promise<Json[]>;
  /** Closes the stream, like a client that closes its connection. */
  leave(): void;
}

/** Sends a JSON-RPC request of version 1.0 whose answer is a stream. */
export async function rpcStream(
  kit: DoorKit,
  method: string,
  params: Json,
  { url = '/a2a', headers }: RpcOptions = {},
): Promise<UpdateReader> {
  const payload = { jsonrpc: '2.0', id: 1, method, params };
  const response = await kit.inject({
    method: 'POST',
    url,
    headers: { ...V1, ...headers },
    payload,
    payloadAsStream: true,
  });
  return readUpdates(response.stream());
}

/** Reads a stream of server-sent events. The JSON-RPC envelope is removed; the `id` of an event becomes its field `sseId`. */
export function readUpdates(stream: Readable): UpdateReader {
  const events = eventsOf(stream);
  const next = async (): Promise<Json | undefined> => (await events.next()).value as Json | undefined;
  return {
    next,
    async rest() {
      const all: Json[] = [];
      for (let event = await next(); event !== undefined; event = await next()) all.push(event);
      return all;
    },
    leave: () => stream.destroy(),
  };
}

async function* eventsOf(stream: Readable): AsyncGenerator<Json, void> {
  let text = '';
  for await (const piece of stream) {
    text += String(piece);
    const blocks = text.split('\n\n');
    text = blocks.pop()!;
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data === undefined) continue;
      const body = JSON.parse(data) as Json;
      const sseId = /^id: (.*)$/m.exec(block)?.[1];
      yield { ...(body.result ?? body), ...(sseId === undefined ? {} : { sseId }) };
    }
  }
}

/** The text of the answer after these updates. */
export function textAfter(updates: readonly Json[]): string {
  let text = '';
  for (const { task, artifactUpdate } of updates) {
    if (task) text = textIn(task.artifacts);
    if (!artifactUpdate) continue;
    const piece = textIn([artifactUpdate.artifact]);
    text = artifactUpdate.append ? text + piece : piece;
  }
  return text;
}

/** The joined texts of artifacts. */
export const textIn = (artifacts: Json[] = []): string =>
  artifacts.flatMap(({ parts }) => parts.map(({ text = '' }: Json) => text)).join('');

/** The states in a list of updates, in order. */
export const statesIn = (updates: readonly Json[]): string[] =>
  updates.flatMap(({ task, statusUpdate }) => {
    const state = (task ?? statusUpdate)?.status.state;
    return state === undefined ? [] : [state.replace('TASK_STATE_', '')];
  });
