// Sends the response of the MCP library, a web `Response`, as the response of the door. During a long call, the door sends comments, so
// that neither a proxy nor the client closes the connection.
import type { OutgoingHttpHeaders } from 'node:http';
import type { Clock, Timer } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import type { FastifyReply } from '../fastify.ts';

/** Time after which the connection of a client that does not read is closed, in ms. */
const STALLED_MS = 60_000;
const SSE_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
};

export interface RespondOptions {
  readonly clock: Clock;
  /** Interval of the comments, in ms. */
  readonly heartbeatMs: number;
  /** True if the client reads a stream of events. */
  readonly takesEvents: boolean;
}

/** Sends a response. Resolves when it was sent or the client has disconnected. */
export async function respond(
  reply: FastifyReply,
  answer: Promise<Response>,
  { clock, heartbeatMs, takesEvents }: RespondOptions,
): Promise<void> {
  const { raw } = reply;
  const late = new AbortController();
  const first = await Promise.race([
    answer,
    takesEvents
      ? pause(clock, heartbeatMs, late.signal).catch(() => undefined)
      : new Promise<undefined>(() => {}),
  ]);
  late.abort();
  reply.hijack();
  raw.on('error', () => {}); // the client has left; `close` follows
  const set = reply.getHeaders() as OutgoingHttpHeaders;
  if (first) {
    const isStream = first.headers.get('content-type')?.startsWith('text/event-stream') ?? false;
    raw.writeHead(first.status, {
      ...set,
      ...Object.fromEntries(first.headers),
      ...(isStream ? SSE_HEADERS : {}),
    });
    if (isStream) raw.flushHeaders();
    await pipe(reply, first, clock);
    return;
  }
  raw.writeHead(200, { ...set, ...SSE_HEADERS });
  raw.write(': keep-alive\n\n');
  const heartbeat = clock.every(heartbeatMs, () => void raw.write(': keep-alive\n\n'));
  let response: Response;
  try {
    response = await answer;
  } finally {
    heartbeat.stop();
  }
  if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
    await pipe(reply, response, clock);
    return;
  }
  const text = await response.text();
  raw.end(text === '' ? '' : `event: message\ndata: ${text}\n\n`);
}

async function pipe({ raw }: FastifyReply, { body }: Response, clock: Clock): Promise<void> {
  const reader = body?.getReader();
  const onClose = (): void => void reader?.cancel().catch(() => {});
  if (raw.destroyed) onClose();
  else raw.once('close', onClose);
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) break;
      if (!raw.write(value)) await drained(raw, clock);
    }
  } finally {
    raw.off('close', onClose);
    raw.end();
  }
}

/** Waits until a slow client reads. Closes the connection of a client that does not read. */
async function drained(raw: FastifyReply['raw'], clock: Clock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stalled: Timer = clock.after(STALLED_MS, () => raw.destroy());
  raw.once('drain', resolve);
  raw.once('close', resolve);
  try {
    await promise;
  } finally {
    stalled.stop();
    raw.off('drain', resolve);
    raw.off('close', resolve);
  }
}
