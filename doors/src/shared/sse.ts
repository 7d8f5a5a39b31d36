// Server-sent events. A slow reader slows down the writer, and a silent stream sends comments so that proxies keep the connection.
import type { OutgoingHttpHeaders } from 'node:http';
import type { Clock } from '@fame-fabric/shared';
import type { FastifyReply } from '../fastify.ts';

/** Time without progress after which a reader's connection is closed, in ms. */
const STALLED_MS = 60_000;

export interface SseOptions {
  /** Interval of the comments, in ms. */
  readonly heartbeatMs: number;
  readonly clock: Clock;
  /** @default 200 */
  readonly status?: number | undefined;
}

export interface EventStream {
  /** Sends an event. Resolves when the next one may be sent, at once after the reader has left. `data` may have several lines. */
  send(event: {
    readonly event?: string | undefined;
    readonly data: string;
    readonly id?: string | undefined;
  }): Promise<void>;
  comment(text: string): void;
  /** Ends the response. */
  end(): void;
  /** Breaks the connection, so that the reader sees that the response is not complete. */
  destroy(): void;
  /** Aborts when the reader has left. */
  readonly signal: AbortSignal;
  /** True once the response has ended, or its reader has left. */
  readonly isOver: boolean;
}

/** Starts a response with events. Headers that were set on `reply` before are sent with it. */
export function sse(reply: FastifyReply, { heartbeatMs, clock, status = 200 }: SseOptions): EventStream {
  const { raw } = reply;
  reply.hijack();
  const left = new AbortController();
  let isOver = false;
  let drained: PromiseWithResolvers<void> | undefined;
  raw.writeHead(status, {
    ...(reply.getHeaders() as OutgoingHttpHeaders),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  raw.flushHeaders();

  const finish = (): void => {
    isOver = true;
    heartbeat.stop();
    drained?.resolve();
  };
  raw.on('drain', () => {
    drained?.resolve();
    drained = undefined;
  });
  const onClose = (): void => {
    if (!isOver) left.abort();
    finish();
  };
  raw.on('close', onClose);
  // The reader has left. `close` follows.
  raw.on('error', () => {});

  const write = async (text: string): Promise<void> => {
    if (isOver || raw.write(text)) return;
    if (drained === undefined) drained = Promise.withResolvers();
    const stalled = clock.after(STALLED_MS, () => raw.destroy());
    await drained.promise;
    stalled.stop();
  };
  const comment = (text: string): void => {
    if (drained === undefined) void write(`: ${text.replace(/[\r\n]+/g, ' ')}\n\n`);
  };
  const heartbeat = clock.every(heartbeatMs, () => comment('keep-alive'));
  // If the reader has already left, the response emits no `close`.
  if (raw.destroyed) onClose();

  return {
    send: ({ event, data, id }) => write(eventText(event, data, id)),
    comment,
    end() {
      if (isOver) return;
      finish();
      raw.end();
    },
    destroy() {
      finish();
      raw.destroy();
    },
    signal: left.signal,
    get isOver() {
      return isOver;
    },
  };
}

function eventText(event: string | undefined, data: string, id: string | undefined): string {
  const lines = data.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`);
  return `${id === undefined ? '' : `id: ${id}\n`}${event === undefined ? '' : `event: ${event}\n`}${lines.join('')}\n`;
}
