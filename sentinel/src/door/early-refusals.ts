// Refuses connections of a principal above its attach rate before HTTP parses them. The answer to one such request is kept until the
// principal may attach again, and is sent to each further connection whose first bytes have the same credential. A refusal here costs
// less than half of a refusal by HTTP. While no principal is above its rate, every connection goes straight to HTTP.
import type { Socket } from 'node:net';
import type { Clock } from '@fame-fabric/shared';

/** A connection that sends nothing for this time goes to HTTP, which has its own limits, in ms. */
const WAIT_MS = 1_000;
/** Maximum number of stored answers. */
export const MAX_ANSWERS = 64;
/** Number of first bytes that are searched for the credential. The headers of nodes are shorter. */
const SEARCHED_BYTES = 2_048;
const ATTACH_REQUEST = Buffer.from('GET /fame/v1/attach/ws/');
const AUTHORIZATION = /\r\nauthorization: *([^\r\n]*)\r\n/i;

interface Answer {
  /** Monotonic time until which it is sent, in ms. */
  readonly until: number;
  readonly bytes: Buffer;
}

export interface EarlyRefusalsDeps {
  clock: Clock;
  /** Passes a connection to HTTP. */
  serve: (socket: Socket) => void;
  /** Called for each connection that is refused here. */
  onRefused: () => void;
}

export class EarlyRefusals {
  readonly #deps: EarlyRefusalsDeps;
  /** By the value of the Authorization header. */
  readonly #answers = new Map<string, Answer>();

  constructor(deps: EarlyRefusalsDeps) {
    this.#deps = deps;
  }

  /** Keeps the answer for connections with this credential. */
  keep(authorization: string | undefined, answer: Buffer, forMs: number): void {
    if (authorization === undefined) return;
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    this.#answers.set(authorization, { until: this.#deps.clock.monotonic() + forMs, bytes: answer });
  }

  /** Takes a new connection. */
  admit(socket: Socket): void {
    if (this.#answers.size === 0) this.#deps.serve(socket);
    else this.#wait(socket);
  }

  // Waits for the first bytes of a connection.
  #wait(socket: Socket): void {
    const end = (): void => {
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.off('timeout', onTimeout);
      socket.setTimeout(0);
    };
    const onData = (chunk: Buffer): void => {
      end();
      const answer = this.#answerFor(chunk);
      if (answer === undefined) {
        this.#deps.serve(socket);
        socket.emit('data', chunk);
        return;
      }
      this.#deps.onRefused();
      socket.pause();
      // Not in the callback itself: Node would create an error with a stack trace for the current write.
      socket.write(answer, () => setImmediate(() => socket.destroy()));
    };
    const onEnd = (): void => void socket.destroy();
    const onTimeout = (): void => {
      end();
      this.#deps.serve(socket);
    };
    // 'close' follows.
    socket.on('error', () => {});
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('timeout', onTimeout);
    socket.setTimeout(WAIT_MS);
  }

  #answerFor(chunk: Buffer): Buffer | undefined {
    if (!chunk.subarray(0, ATTACH_REQUEST.length).equals(ATTACH_REQUEST)) return undefined;
    const authorization = AUTHORIZATION.exec(chunk.toString('latin1', 0, SEARCHED_BYTES))?.[1]?.trimEnd();
    if (authorization === undefined) return undefined;
    const answer = this.#answers.get(authorization);
    if (answer === undefined || this.#deps.clock.monotonic() < answer.until) return answer?.bytes;
    this.#answers.delete(authorization);
    return undefined;
  }
}
