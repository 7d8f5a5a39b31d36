// Responses that stay open and send lines of JSON: the trace, and the changes of the nodes. They are bounded in number and in memory, and
// they end when the credential of their reader ends or the policy no longer allows it.
import { Readable } from 'node:stream';
import type { Clock } from '@fame-fabric/shared';
import { refusalBody } from '@fame-fabric/shared/router';
import type { Access, Granted } from '../access/access.ts';
import type { Guard } from '../access/guard.ts';
import type { FastifyReply, FastifyRequest } from './fastify.ts';

/** Unread bytes of one reader beyond which it gets no further lines. */
const BACKLOG_BYTES = 1_048_576;
/** Interval of the check whether the credential of a reader is still valid, in ms. */
const CREDENTIAL_CHECK_MS = 2_000;

export interface LineStreamsDeps {
  access: Access;
  guard: Guard;
  clock: Clock;
}

export interface LineStreamsOptions {
  /** Name of the page in policies. */
  readonly page: string;
  readonly maxReaders: number;
  /** A silent stream has an empty line in this interval, in ms. */
  readonly keepAliveMs: number;
}

/** The stream of one reader. */
export interface LineStream {
  /** False while the reader has a megabyte or more to read. Its lines are dropped then. */
  readonly hasRoom: boolean;
  /** Sends whole lines, each with its line feed. */
  push(lines: string): void;
}

export class LineStreams {
  readonly #deps: LineStreamsDeps;
  readonly #options: LineStreamsOptions;
  #readers = 0;

  constructor(deps: LineStreamsDeps, options: LineStreamsOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Opens the stream of a reader. `begin` may send the first lines, and returns the function that ends its source. */
  open(
    { request, reply, caller }: { request: FastifyRequest; reply: FastifyReply; caller: Granted },
    begin: (stream: LineStream) => () => void,
  ): FastifyReply {
    const { access, clock, guard } = this.#deps;
    const { keepAliveMs, maxReaders, page } = this.#options;
    if (this.#readers >= maxReaders) {
      const message = `Limit of open streams reached (${maxReaders}). Close another ${page} stream and try again.`;
      return reply.code(429).send(refusalBody('QUOTA_EXCEEDED', message));
    }
    this.#readers++;
    // A stream may be silent for as long as nothing happens.
    request.raw.socket.setTimeout(0);
    const body = new Readable({ read() {} });
    let hasEnded = false;
    let stopSource: (() => void) | undefined;
    const end = (): void => {
      if (hasEnded) return;
      hasEnded = true;
      this.#readers--;
      for (const timer of timers) timer.stop();
      stopSource?.();
    };
    const endIfRevoked = (): boolean => {
      if (hasEnded) return true;
      const { isAllowed } = guard.permissions.decide(caller.principal, 'Watch', page);
      if (isAllowed && !access.hasEnded(caller, clock.now())) return false;
      end();
      body.push(null);
      return true;
    };
    const timers = [
      // A stream without lines ends, too.
      clock.every(CREDENTIAL_CHECK_MS, endIfRevoked),
      clock.every(keepAliveMs, () => {
        if (body.readableLength === 0) body.push('\n');
      }),
    ];
    reply.raw.on('close', () => {
      end();
      body.destroy();
    });
    stopSource = begin({
      get hasRoom() {
        return body.readableLength < BACKLOG_BYTES;
      },
      push(lines) {
        if (!endIfRevoked()) body.push(lines);
      },
    });
    // The credential may have ended with the first line.
    if (hasEnded) stopSource();
    // Send the headers before the first line, so that the client can tell when its stream has started.
    reply.raw.setHeader('content-type', 'application/x-ndjson');
    reply.raw.setHeader('cache-control', 'no-store');
    reply.raw.flushHeaders();
    return reply.send(body);
  }
}
