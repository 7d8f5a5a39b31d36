// Refuses connections of a principal above its attach rate before HTTP parses them. The answer to one such request is kept until the
// principal may attach again, and is sent to each further connection whose first bytes have the same credential. A refusal here costs
// less than half of a refusal by HTTP. While no principal is above its rate, every connection goes straight to HTTP.
//
// The answer is sent after a delay. A client that waits for it before it connects again is slowed, and one that closes its connection
// first needs no answer.
import type { Socket } from 'node:net';
import type { Clock } from '@fame-fabric/shared';
import type { AttachExcess } from '../access/principal-quota.ts';
import { DelayQueue } from './delay-queue.ts';

/** A connection that sends nothing for this time goes to HTTP, which has its own limits, in ms. */
export const WAIT_MS = 1_000;
/** Delay of an answer, in ms. */
export const ANSWER_DELAY_MS = 1_000;
/** Connections that wait for their answer. Beyond this number the oldest is answered for each new one. */
export const MAX_WAITING = 64;
/** Maximum number of stored answers. */
export const MAX_ANSWERS = 64;
/** Connections in the interval of one attach from which on they are a flood. */
export const FLOOD_FACTOR = 8;
/** Longest time for which an answer is kept, in ms. */
const MAX_KEPT_MS = 1_000;
/** Number of first bytes that are searched for the credential. The headers of nodes are shorter. */
const SEARCHED_BYTES = 2_048;
const ATTACH_REQUEST = Buffer.from('GET /fame/v1/attach/ws/');
const AUTHORIZATION = /\r\nauthorization: *([^\r\n]*)\r\n/i;

type KeptExcess = Pick<AttachExcess, 'retryAfterMs' | 'intervalMs' | 'forgo'>;

interface Answer {
  readonly bytes: Buffer;
  readonly excess: KeptExcess;
  /** Monotonic time until which it is sent, in ms. */
  until: number;
  /** Monotonic time after which it is not kept, in ms. */
  readonly lastUntil: number;
  /** Connections that were refused in the current interval. */
  refused: number;
}

export interface EarlyRefusalsDeps {
  clock: Clock;
  /** Passes a connection to HTTP. */
  serve: (socket: Socket) => void;
  /** Called for each connection that is refused here. */
  onRefused: () => void;
}

/** A connection that is refused, and its answer. */
interface Refused {
  readonly socket: Socket;
  readonly answer: Buffer;
}

export class EarlyRefusals {
  readonly #deps: EarlyRefusalsDeps;
  /** By the value of the Authorization header. */
  readonly #answers = new Map<string, Answer>();
  /** Connections that have sent nothing, with the function that passes each to HTTP. */
  readonly #silent: DelayQueue<() => void>;
  readonly #refused: DelayQueue<Refused>;

  constructor(deps: EarlyRefusalsDeps) {
    this.#deps = deps;
    this.#silent = new DelayQueue(deps.clock, WAIT_MS, (serve) => serve());
    this.#refused = new DelayQueue(deps.clock, ANSWER_DELAY_MS, send);
  }

  /**
   * Keeps the answer for connections with this credential, until the principal may attach again. During a flood it is kept for up to
   * a second, and the principal forgoes the attaches that it could have made in this time.
   */
  keep(authorization: string | undefined, bytes: Buffer, excess: KeptExcess): void {
    if (authorization === undefined) return;
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    const now = this.#deps.clock.monotonic();
    const until = now + excess.retryAfterMs;
    const lastUntil = Math.max(until, now + MAX_KEPT_MS);
    this.#answers.set(authorization, { bytes, excess, until, lastUntil, refused: 0 });
  }

  /** Takes a new connection. */
  admit(socket: Socket): void {
    if (this.#answers.size === 0) this.#deps.serve(socket);
    else this.#wait(socket);
  }

  // Waits for the first bytes of a connection.
  #wait(socket: Socket): void {
    let refused: Refused | undefined;
    const serve = (): void => {
      this.#silent.delete(serve);
      socket.off('data', onData);
      socket.off('end', onEnd);
      this.#deps.serve(socket);
    };
    const onData = (chunk: Buffer): void => {
      if (refused !== undefined) {
        // It sends more than its request.
        socket.pause();
        return;
      }
      const answer = this.#answerFor(chunk);
      if (answer === undefined) {
        serve();
        socket.emit('data', chunk);
        return;
      }
      this.#silent.delete(serve);
      this.#deps.onRefused();
      refused = { socket, answer };
      if (this.#refused.size >= MAX_WAITING) this.#refused.releaseOldest();
      this.#refused.add(refused);
    };
    const onEnd = (): void => {
      this.#silent.delete(serve);
      if (refused !== undefined) this.#refused.delete(refused);
      socket.destroy();
    };
    // 'close' follows.
    socket.on('error', onEnd);
    socket.on('data', onData);
    socket.on('end', onEnd);
    this.#silent.add(serve);
  }

  #answerFor(chunk: Buffer): Buffer | undefined {
    if (!chunk.subarray(0, ATTACH_REQUEST.length).equals(ATTACH_REQUEST)) return undefined;
    const authorization = AUTHORIZATION.exec(chunk.toString('latin1', 0, SEARCHED_BYTES))?.[1]?.trimEnd();
    if (authorization === undefined) return undefined;
    const answer = this.#answers.get(authorization);
    if (answer === undefined || this.#isKept(answer)) return answer?.bytes;
    this.#answers.delete(authorization);
    return undefined;
  }

  // Counts a refusal. After an interval with many of them, the answer is kept for another one.
  #isKept(answer: Answer): boolean {
    const now = this.#deps.clock.monotonic();
    if (now >= answer.until) {
      const { forgo, intervalMs } = answer.excess;
      const until = answer.until + intervalMs;
      if (answer.refused < FLOOD_FACTOR || until > answer.lastUntil || now >= until) return false;
      forgo();
      answer.until = until;
      answer.refused = 0;
    }
    answer.refused++;
    return true;
  }
}

function send({ socket, answer }: Refused): void {
  if (socket.destroyed) return;
  socket.pause();
  // Not in the callback itself: Node would create an error with a stack trace for the current write.
  socket.write(answer, () => setImmediate(() => socket.destroy()));
}
