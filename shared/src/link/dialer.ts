// Opens an attached connection to a sentinel: dial, NodeAttach, NodeAttachAck, with retries after growing delays. The first
// attach fails after a timeout; a reattach continues until it is aborted. Independent of links: sentinels use it as well, to
// attach to their parents and peers.
import { onAbort, pause } from '../async/abort.ts';
import { Backoff, shuffled } from '../async/backoff.ts';
import type { Clock } from '../async/clock.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import { errorMessage } from '../errors/error-message.ts';
import type { Logger } from '../log.ts';
import { decode, encode } from '../protocol/codec.ts';
import type { Envelope, NodeAttach, NodeAttachAck } from '../protocol/envelope.ts';
import { timeText } from '../text/time-text.ts';
import { mayNeedTls } from './tls-fault.ts';
import type { Dial, TokenSource, Transport } from './transport.ts';
import { withoutSecrets } from './without-secrets.ts';

const DIAL_TIMEOUT_MS = 5_000;
const ACK_TIMEOUT_MS = 10_000;
/** A connection that lasted this long was stable: the next delay is the shortest again. */
const STABLE_AFTER_MS = 2_000;
/**
 * Upper bound of the attempt count after a short-lived connection: the next delay is at most four times the shortest. The
 * sentinel exists but keeps crashing, and with longer delays a node would miss the times at which it is up.
 */
const ATTEMPTS_AFTER_UNSTABLE = 2;
/** WebSocket close code of a sentinel that refuses an attach without an ack. */
const POLICY_VIOLATION = 1008;

export interface DialerDeps {
  readonly dial: Dial;
  readonly clock: Clock;
  readonly log: Logger;
  /** Creates the request of one attempt. Its `corrId` identifies the attempt. */
  readonly makeAttach: () => Envelope<NodeAttach>;
  /**
   * Takes over the connection. Called inside the message event of the ack, so that no later message is missed. If it throws,
   * the attempt fails with that error, and the dialer terminates the transport.
   */
  readonly onAttached: (transport: Transport, ack: NodeAttachAck) => void;
  /** Called with the ack of each refused attempt. */
  readonly onRefused?: ((ack: NodeAttachAck) => void) | undefined;
  readonly trace?: ((direction: 'sent' | 'received', envelope: Envelope) => void) | undefined;
  /** Called with the error of each failed attempt that is repeated. */
  readonly onFailed?: ((error: unknown) => void) | undefined;
}

export interface DialerOptions {
  /** Complete admission URL, with the system id as its last segment. */
  readonly url: string;
  /**
   * URLs of other sentinels that admit the node as well. A failed attempt moves on to the next one: in this order at the first attach, and in a
   * random order after a lost connection. @default none
   */
  readonly otherUrls?: readonly string[] | undefined;
  /** Bearer token. */
  readonly token?: string | TokenSource | undefined;
  /** First delay between attempts, in ms. @default 200 */
  readonly backoffMinMs?: number | undefined;
  /** Longest delay between attempts, in ms. A function is called for each delay. @default 10_000 */
  readonly backoffMaxMs?: number | (() => number) | undefined;
  /** True if the first attach is retried after a refusal, until its timeout. @default false */
  readonly retriesRefusal?: boolean | undefined;
  /** Name of the other side in errors and logs. @default 'sentinel' */
  readonly peer?: string | undefined;
  /** Advice in the error about an unreachable sentinel. @default advice about FAME_DIRECT_ADMISSION_URL */
  readonly advice?: string | undefined;
}

/** Attaches and reattaches to one sentinel, or to one of several. */
export class Dialer {
  readonly #deps: DialerDeps;
  readonly #options: DialerOptions;
  readonly #peer: string;
  readonly #backoff: Backoff;
  #urls: readonly string[];
  /** Index of the URL of the next attempt. */
  #at = 0;
  #attachedAt = 0;

  constructor(deps: DialerDeps, options: DialerOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#peer = options.peer ?? 'sentinel';
    this.#urls = [options.url, ...(options.otherUrls ?? [])];
    const { backoffMinMs = 200, backoffMaxMs = 10_000 } = options;
    this.#backoff = new Backoff({
      minMs: backoffMinMs,
      get maxMs() {
        return typeof backoffMaxMs === 'number' ? backoffMaxMs : backoffMaxMs();
      },
    });
  }

  get #url(): string {
    return this.#urls[this.#at]!;
  }

  // The nodes of a lost sentinel must not all attach to the next one in the same list.
  #shuffleOthers(): void {
    this.#urls = [this.#url, ...shuffled(this.#urls.filter((_, at) => at !== this.#at))];
    this.#at = 0;
  }

  #moveOn(): void {
    this.#at = (this.#at + 1) % this.#urls.length;
  }

  /**
   * Attaches for the first time.
   * @throws {LINK_REFUSED | AUTH_MISSING | AUTH_INVALID | AUTH_EXPIRED | AUTH_FORBIDDEN} when all sentinels refuse, unless `retriesRefusal` is set
   * @throws {AUTH_UNAVAILABLE} when the issuer of the token did not answer within `timeoutMs`
   * @throws {LINK_TIMEOUT} when there was no attach within `timeoutMs`
   * @throws {CONFIG_INVALID} from the token source
   * @throws the reason of `signal` when that aborts
   */
  async attach(timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    const { retriesRefusal = false } = this.#options;
    const deadline = clock.monotonic() + timeoutMs;
    let refusals = 0;
    for (let isFirst = true; ; isFirst = false) {
      try {
        await this.#attempt(deadline - clock.monotonic(), signal);
        this.#backoff.reset();
        return;
      } catch (error) {
        signal.throwIfAborted();
        // The token may come from a file that the configuration names and that cannot be read.
        if (isFabricError(error, 'CONFIG_INVALID')) throw error;
        refusals = isRefusal(error) ? refusals + 1 : 0;
        if (refusals >= this.#urls.length && !retriesRefusal) throw error;
        const url = this.#url;
        this.#moveOn();
        this.#deps.onFailed?.(error);
        const delayMs = this.#backoff.nextDelayMs();
        if (clock.monotonic() + delayMs >= deadline) throw this.#unreachable(timeoutMs, error);
        if (isFirst)
          log.info(`waiting for the ${this.#peer}`, { url, timeoutMs, reason: errorMessage(error) });
        await pause(clock, delayMs, signal);
      }
    }
  }

  /** Attaches again after a lost connection, and retries without a limit. @throws the reason of `signal`, and nothing else */
  async reattach(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#deps;
    const wasStable = clock.monotonic() - this.#attachedAt >= STABLE_AFTER_MS;
    this.#backoff.reset(wasStable ? 0 : Math.min(this.#backoff.attempt, ATTEMPTS_AFTER_UNSTABLE));
    this.#shuffleOthers();
    for (let isFirst = true; ; ) {
      await pause(clock, this.#backoff.nextDelayMs(), signal);
      try {
        await this.#attempt(Number.POSITIVE_INFINITY, signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        const url = this.#url;
        this.#moveOn();
        this.#deps.onFailed?.(error);
        if (isFirst) {
          log.warn(`cannot reattach to the ${this.#peer}, retrying`, { url, reason: errorMessage(error) });
        }
        isFirst = false;
      }
    }
  }

  async #attempt(remainingMs: number, signal: AbortSignal): Promise<void> {
    const { token } = this.#options;
    if (token === undefined || typeof token === 'string')
      return this.#attemptWith(token, remainingMs, signal);
    try {
      await this.#attemptWith(await token.read(), remainingMs, signal);
    } catch (error) {
      if (!isTokenRefused(error) || token.onRefused?.() !== true) throw error;
      await this.#attemptWith(await token.read(), remainingMs, signal);
    }
  }

  async #attemptWith(token: string | undefined, remainingMs: number, signal: AbortSignal): Promise<void> {
    const { dial, clock } = this.#deps;
    const url = this.#url;
    const timeoutMs = Math.max(1, Math.min(DIAL_TIMEOUT_MS, remainingMs));
    const transport = await dial(url, { timeoutMs, signal, token });
    if (signal.aborted) {
      transport.terminate();
      signal.throwIfAborted();
    }
    await this.#handshake(transport, Math.max(1, Math.min(ACK_TIMEOUT_MS, remainingMs)), signal);
    this.#attachedAt = clock.monotonic();
  }

  #handshake(transport: Transport, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { clock, trace, makeAttach, onAttached, onRefused } = this.#deps;
    const url = this.#url;
    const attach = makeAttach();
    return new Promise((resolve, reject) => {
      const stopListening = onAbort(signal, () => fail(signal.reason));
      const finish = (): void => {
        timer.stop();
        stopListening();
        transport.onMessage = undefined;
        transport.onClose = undefined;
      };
      const fail = (error: unknown): void => {
        finish();
        transport.terminate();
        reject(error);
      };
      const timer = clock.after(timeoutMs, () =>
        fail(
          new FabricError('LINK_TIMEOUT', `${url} did not answer NodeAttach within ${timeText(timeoutMs)}`),
        ),
      );
      transport.onClose = (code, reason) =>
        fail(
          new FabricError(
            code === POLICY_VIOLATION ? 'LINK_REFUSED' : 'LINK_TIMEOUT',
            `${url} closed the connection during the attach (${code}${reason ? ` ${reason}` : ''})`,
            { details: { closeCode: code } },
          ),
        );
      transport.onMessage = (bytes) => {
        const envelope = readAck(bytes, attach.corrId!);
        if (!envelope) return;
        trace?.('received', withoutSecrets(envelope));
        const refusal = this.#refusalIn(envelope.frame);
        if (refusal) {
          onRefused?.(envelope.frame);
          fail(refusal);
          return;
        }
        finish();
        try {
          onAttached(transport, envelope.frame);
          resolve();
        } catch (error) {
          fail(error);
        }
      };
      trace?.('sent', withoutSecrets(attach));
      transport.send(encode(attach));
    });
  }

  #refusalIn({ ok, code, reason, assignedPath }: NodeAttachAck): FabricError | undefined {
    if (!ok) {
      return new FabricError(
        AUTH_CODES.has(code ?? '') || code === 'AUTH_UNAVAILABLE' ? (code as ErrorCode) : 'LINK_REFUSED',
        `The ${this.#peer} refused the attach: ${reason || code || 'no reason given'}`,
        { details: code ? { code } : undefined },
      );
    }
    return assignedPath
      ? undefined
      : new FabricError('LINK_REFUSED', `The ${this.#peer} acknowledged the attach without a path`);
  }

  #unreachable(timeoutMs: number, cause: unknown): FabricError {
    // The sentinel is not at fault: the issuer of the token is unreachable.
    if (isFabricError(cause, 'AUTH_UNAVAILABLE')) return cause;
    const { url, advice = 'Start it (make start) or check FAME_DIRECT_ADMISSION_URL' } = this.#options;
    const urls = this.#urls.join(' or ');
    return new FabricError(
      'LINK_TIMEOUT',
      `No ${this.#peer} at ${urls} within ${timeText(timeoutMs)}: ${errorMessage(cause)}. ${mayNeedTls(url, cause) ? 'If its port speaks TLS, the URL begins with wss://. ' : ''}${advice}`,
      { cause },
    );
  }
}

/** Codes of refusals that the error of an attach repeats, since their fix is another credential. */
const AUTH_CODES: ReadonlySet<string> = new Set([
  'AUTH_MISSING',
  'AUTH_INVALID',
  'AUTH_EXPIRED',
  'AUTH_FORBIDDEN',
]);

/** True for the error of an attach whose token the sentinel refused. */
const isTokenRefused = (error: unknown): boolean =>
  isFabricError(error, 'AUTH_INVALID') || isFabricError(error, 'AUTH_EXPIRED');

const isRefusal = (error: unknown): boolean =>
  isFabricError(error) && (error.code === 'LINK_REFUSED' || AUTH_CODES.has(error.code));

// Returns the ack of this attempt. A refusal may lack the corrId, because some sentinels refuse before they read the NodeAttach.
function readAck(bytes: Uint8Array, corrId: string): Envelope<NodeAttachAck> | undefined {
  let envelope: Envelope;
  try {
    envelope = decode(bytes);
  } catch {
    // Ignore an unreadable message. If no ack follows, the timeout ends the attempt.
    return undefined;
  }
  const { frame } = envelope;
  if (frame.type !== 'NodeAttachAck') return undefined;
  const isOurs = envelope.corrId === corrId || (envelope.corrId === undefined && !frame.ok);
  return isOurs ? (envelope as Envelope<NodeAttachAck>) : undefined;
}
