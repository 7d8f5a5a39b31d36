// From a URL to an attached connection: dial, NodeAttach, NodeAttachAck, and again with a growing pause. The first attach
// gives up after `connectTimeoutMs`; later ones never do, until the link is closed.
import type { Clock } from '../async/clock.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import { decode, encode } from '../protocol/codec.ts';
import type { Envelope, NodeAttach, NodeAttachAck } from '../protocol/envelope.ts';
import type { LinkOptions } from './link-types.ts';
import type { Dial, Transport } from './transport.ts';

const DIAL_TIMEOUT_MS = 5_000;
const ACK_TIMEOUT_MS = 10_000;
/** A connection that lived for so long was a good one: the next pause is the shortest again. */
const GOOD_AFTER_MS = 2_000;
/**
 * Attempts that count after a connection that was acknowledged and lived shorter: four times the shortest pause. There is a
 * sentinel, so pauses as long as for one that is away would let a node miss one that keeps crashing for minutes.
 */
const ATTEMPTS_AFTER_SHORT = 2;

export interface DialerOptions {
  /** Complete, with the system id as its last segment. */
  url: string;
  dial: Dial;
  token: string | undefined;
  clock: Clock;
  log: Logger;
  backoffMinMs: number;
  backoffMaxMs: number;
  trace: LinkOptions['trace'];
  makeAttach: () => Envelope<NodeAttach>;
  /** Called in the message event of the ack, so that nothing that follows it can be missed. */
  adopt: (transport: Transport, ack: NodeAttachAck) => void;
}

export class Dialer {
  readonly #options: DialerOptions;
  #attempt = 0;
  #attachedAt = 0;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /**
   * Attaches for the first time. @throws {LINK_REFUSED} when the sentinel says no. @throws {LINK_TIMEOUT} when it did not
   * answer within `timeoutMs`. Rejects with the signal's reason when that aborts.
   */
  async first(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { clock, log, url } = this.#options;
    const until = clock.now() + timeoutMs;
    for (let isFirst = true; ; isFirst = false) {
      const left = until - clock.now();
      try {
        await this.#attach(left, signal);
        this.#attempt = 0;
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (isFabricError(error, 'LINK_REFUSED')) throw error;
        const pauseMs = this.#nextPause();
        if (clock.now() + pauseMs >= until) throw unreachable(url, timeoutMs, error);
        if (isFirst) log.info('waiting for the sentinel', { url, timeoutMs, because: messageOf(error) });
        await pause(clock, pauseMs, signal);
      }
    }
  }

  /** Attaches again, for as long as it takes. Rejects only when `signal` aborts. */
  async again(signal: AbortSignal): Promise<void> {
    const { clock, log, url } = this.#options;
    const wasGood = clock.now() - this.#attachedAt >= GOOD_AFTER_MS;
    this.#attempt = wasGood ? 0 : Math.min(this.#attempt, ATTEMPTS_AFTER_SHORT);
    for (let isFirst = true; ; ) {
      await pause(clock, this.#nextPause(), signal);
      try {
        await this.#attach(Number.POSITIVE_INFINITY, signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (isFirst) log.warn('cannot attach again, trying on', { url, because: messageOf(error) });
        isFirst = false;
      }
    }
  }

  // Half of the pause is jitter, so that many nodes do not come back in the same moment.
  #nextPause(): number {
    const { backoffMinMs, backoffMaxMs } = this.#options;
    const pauseMs = Math.min(backoffMinMs * 2 ** Math.min(this.#attempt++, 30), backoffMaxMs);
    return pauseMs / 2 + (Math.random() * pauseMs) / 2;
  }

  async #attach(leftMs: number, signal: AbortSignal): Promise<void> {
    const { dial, url, token } = this.#options;
    const timeoutMs = Math.max(1, Math.min(DIAL_TIMEOUT_MS, leftMs));
    const transport = await dial(url, { timeoutMs, signal, ...(token === undefined ? {} : { token }) });
    if (signal.aborted) {
      transport.terminate();
      signal.throwIfAborted();
    }
    await this.#handshake(transport, Math.max(1, Math.min(ACK_TIMEOUT_MS, leftMs)), signal);
    this.#attachedAt = this.#options.clock.now();
  }

  #handshake(transport: Transport, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { clock, trace, makeAttach, adopt, url } = this.#options;
    const attach = makeAttach();
    return new Promise((resolve, reject) => {
      const over = (): void => {
        timer.stop();
        signal.removeEventListener('abort', onAbort);
        transport.onMessage = undefined;
        transport.onClose = undefined;
      };
      const fail = (error: unknown): void => {
        over();
        transport.terminate();
        reject(error);
      };
      const onAbort = (): void => fail(signal.reason);
      const timer = clock.after(timeoutMs, () =>
        fail(new FabricError('LINK_TIMEOUT', `${url} did not answer NodeAttach within ${timeoutMs} ms`)),
      );
      signal.addEventListener('abort', onAbort);
      transport.onClose = (code, reason) => {
        // 1008 is how a sentinel says no without an ack.
        const error = new FabricError(
          code === 1008 ? 'LINK_REFUSED' : 'LINK_TIMEOUT',
          `${url} closed the connection during the attach (${code}${reason ? ` ${reason}` : ''})`,
          { details: { closeCode: code } },
        );
        fail(error);
      };
      transport.onMessage = (bytes) => {
        const envelope = readAck(bytes, attach.corrId!);
        if (!envelope) return;
        trace?.('received', envelope);
        const ack = envelope.frame;
        if (!ack.ok) {
          const reason = ack.reason || ack.code || 'no reason given';
          const details = ack.code ? { details: { code: ack.code } } : {};
          fail(new FabricError('LINK_REFUSED', `The sentinel refused the attach: ${reason}`, details));
        } else if (!ack.assignedPath) {
          fail(new FabricError('LINK_REFUSED', 'The sentinel assigned no path'));
        } else {
          over();
          adopt(transport, ack);
          resolve();
        }
      };
      trace?.('sent', attach);
      transport.send(encode(attach));
    });
  }
}

// A refusal may come without a corrId, since some sentinels say no before they read the NodeAttach.
function readAck(bytes: Uint8Array, corrId: string): Envelope<NodeAttachAck> | undefined {
  let envelope: Envelope;
  try {
    envelope = decode(bytes);
  } catch {
    // Not an answer; what is not understood before the attach only uses up its time.
    return undefined;
  }
  const { frame } = envelope;
  if (frame.type !== 'NodeAttachAck') return undefined;
  const isOurs = envelope.corrId === corrId || (envelope.corrId === undefined && !frame.ok);
  return isOurs ? (envelope as Envelope<NodeAttachAck>) : undefined;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const unreachable = (url: string, timeoutMs: number, cause: unknown): FabricError =>
  new FabricError(
    'LINK_TIMEOUT',
    `No sentinel at ${url} within ${timeoutMs} ms: ${messageOf(cause)}. Start it (make start) or check FAME_DIRECT_ADMISSION_URL`,
    { cause },
  );

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      timer.stop();
      reject(signal.reason);
    };
    // Nothing else may keep a process alive that waits for its sentinel.
    const timer = clock.after(
      ms,
      () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      },
      { keepAlive: true },
    );
    signal.addEventListener('abort', onAbort, { once: true });
  });
}
