// The usage of one principal at this sentinel, over all of its sessions, and its limits. A principal above its rate is slowed by credit
// that is withheld, then refused. Rates count requests and messages, never answers or items of streams.
import type { Clock, Principal, Timer } from '@fame-fabric/shared';
import { timeText } from '@fame-fabric/shared/internal';
import type { Counters } from '../counters.ts';
import type { CreditGranter, Flow, WithheldGrant } from '../session/flow.ts';
import type { GrantHolder } from '../session/outbound-queue.ts';
import { Rate } from './limits/rate.ts';
import { type SentinelLimits, UNLIMITED } from './limits/role-limits.ts';

/** Kinds of refusals, as `/metrics` counts them. */
export type QuotaKind =
  | 'connections'
  | 'attaches'
  | 'sessions'
  | 'addresses'
  | 'open_calls'
  | 'streams'
  | 'messages'
  | 'bytes';

/**
 * Time above its rate up to which the requests of a node are forwarded while its credit is withheld, in ms. It covers the windows
 * that an honest node has in flight. Nodes that spend no credit for requests have none.
 */
const SLACK_MS = 2_000;
/** Longest time for which the credit of a flow is withheld, in ms. */
const MAX_HOLD_MS = 2_000;
/** Attaches of a principal: twice its sessions at once, and a tenth of its sessions in each second. A page may be reloaded often. */
const MIN_ATTACH_BURST = 100;
const MIN_ATTACHES_PER_SECOND = 10;
/** Attaches that a node costs its principal if it is closed for bad frames: it may connect again once a second. */
const BAD_FRAMES_ATTACHES = 10;
/** Longest time for which they are kept, in ms. */
const IDLE_MS = 60_000;

const attachesPerSecond = ({ sessions }: SentinelLimits): number =>
  Math.max(MIN_ATTACHES_PER_SECOND, sessions / 10);

/** A rate that is used up. */
export interface Excess {
  readonly kind: 'messages' | 'bytes' | 'attaches';
  /** Time until the principal may send again. */
  readonly retryAfterMs: number;
  /** States the limit and the fix. */
  readonly reason: string;
}

/** A refused attach. */
export interface AttachExcess extends Excess {
  /** Time in which the principal may attach once, in ms. */
  readonly intervalMs: number;
  /** Counts an attach that the principal does not make. */
  readonly forgo: () => void;
}

/** The limits in force. */
interface LimitSource {
  /** Grows with each change. */
  readonly version: number;
  limitsOf(principal: Principal): SentinelLimits;
}

export interface PrincipalQuotaDeps {
  source: LimitSource;
  clock: Clock;
  counters: Counters;
}

/** The usage of one principal. */
export class PrincipalQuota implements GrantHolder {
  readonly id: string;
  /** Its sessions, also those in their resume window. */
  sessions = 0;
  /** Addresses that its sessions have bound. */
  addresses = 0;
  /** Calls that its sessions made and wait for. */
  openCalls = 0;
  /** Those of them that are streams. */
  streams = 0;
  /** True if the last charged message was above its rate: the credit for it must wait. */
  isSlowed = false;
  /** Monotonic time at which its last session ended. */
  idleSince = 0;
  readonly #deps: PrincipalQuotaDeps;
  readonly #messages = new Rate();
  readonly #bytes = new Rate();
  readonly #attaches = new Rate();
  #principal: Principal;
  /** Version of the source that `#limits` are from. */
  #version = 0;
  #limits: SentinelLimits = UNLIMITED;
  readonly #withheld: WithheldGrant[] = [];
  #timer: Timer | undefined;

  constructor(deps: PrincipalQuotaDeps, principal: Principal) {
    this.#deps = deps;
    this.id = principal.id;
    this.#principal = principal;
  }

  /** Applies the roles of the last credential. */
  use(principal: Principal): void {
    if (principal === this.#principal) return;
    this.#principal = principal;
    this.#version = 0;
  }

  get limits(): SentinelLimits {
    const { clock, source } = this.#deps;
    if (this.#version === source.version) return this.#limits;
    this.#version = source.version;
    const limits = source.limitsOf(this.#principal);
    this.#limits = limits;
    const now = clock.monotonic();
    this.#messages.limit(limits.messagesPerSecond, limits.messageBurst, now);
    this.#bytes.limit(limits.bytesPerSecond, limits.byteBurst, now);
    const burst = Math.max(MIN_ATTACH_BURST, 2 * limits.sessions);
    this.#attaches.limit(attachesPerSecond(limits), burst, now);
    return limits;
  }

  /** Counts an attach. Returns the excess if it must be refused. */
  attach(): AttachExcess | undefined {
    const { clock } = this.#deps;
    const rate = attachesPerSecond(this.limits);
    const now = clock.monotonic();
    const emptyMs = this.#attaches.emptyMs(now);
    if (emptyMs >= 0) {
      const excess = this.#excess('attaches', emptyMs, `attach ${rate} times`, 'sessions');
      const forgo = (): void => this.#attaches.take(1, clock.monotonic());
      return { ...excess, intervalMs: 1_000 / rate, forgo };
    }
    this.#attaches.take(1, now);
    return undefined;
  }

  /** Charges a node that is closed for bad frames. The principal may attach again after a second at the latest. */
  chargeBadFrames(): void {
    const now = this.#deps.clock.monotonic();
    if (this.#attaches.emptyMs(now) < 0) this.#attaches.take(BAD_FRAMES_ATTACHES, now);
  }

  /**
   * Counts a request or message of `bytes` bytes. With `spendsCredit`, the node can be slowed by its credit. Returns the excess if
   * the message must be refused; a refused message is not counted.
   */
  charge(bytes: number, spendsCredit: boolean): Excess | undefined {
    const { messagesPerSecond, bytesPerSecond } = this.limits;
    if (!this.#messages.isLimited && !this.#bytes.isLimited) return undefined;
    const now = this.#deps.clock.monotonic();
    const slackMs = spendsCredit ? SLACK_MS : 0;
    const ofMessages = this.#messages.emptyMs(now);
    const ofBytes = this.#bytes.emptyMs(now);
    this.isSlowed = ofMessages >= 0 || ofBytes >= 0;
    if (ofMessages >= slackMs)
      return this.#excess(
        'messages',
        ofMessages,
        `send ${messagesPerSecond} messages`,
        'messages_per_second',
      );
    if (ofBytes >= slackMs)
      return this.#excess('bytes', ofBytes, `send ${bytesPerSecond} bytes`, 'bytes_per_second');
    this.#messages.take(1, now);
    this.#bytes.take(bytes, now);
    return undefined;
  }

  #excess(kind: Excess['kind'], emptyMs: number, rate: string, field: string): Excess {
    this.#deps.counters.exceedQuota(kind);
    const isForbidden = emptyMs === Number.POSITIVE_INFINITY;
    const retryAfterMs = isForbidden ? IDLE_MS : Math.max(1, Math.ceil(emptyMs));
    const advice = isForbidden ? '' : ` Try again in ${timeText(retryAfterMs)}.`;
    const reason = `${this.id} may ${rate} a second.${advice} The policy file can raise \`${field}\`.`;
    return { kind, retryAfterMs, reason };
  }

  /** Withholds a grant until the principal is within its rate again. */
  hold(granter: CreditGranter, flow: Flow): void {
    const { clock, counters } = this.#deps;
    counters.quotaSlowed++;
    this.#withheld.push({ granter, flow });
    const now = clock.monotonic();
    const emptyMs = Math.max(this.#messages.emptyMs(now), this.#bytes.emptyMs(now));
    this.#timer ??= clock.after(Math.min(MAX_HOLD_MS, Math.max(1, Math.ceil(emptyMs))), () => this.release());
  }

  /** Makes all withheld grants. */
  release(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    for (const { granter, flow } of this.#withheld.splice(0)) granter.grantCredit(flow);
  }

  /** Returns why a call must be refused, or undefined. */
  callFault(isStream: boolean): string | undefined {
    const { openCalls, streams } = this.limits;
    if (this.openCalls >= openCalls)
      return this.#full('open_calls', 'Open call', openCalls, 'Wait for answers');
    if (isStream && this.streams >= streams)
      return this.#full('streams', 'Stream', streams, 'Wait until one ends');
    return undefined;
  }

  /** Returns why an address must be refused, or undefined. `waiting` binds of the session are not decided yet. */
  addressFault(waiting: number): string | undefined {
    const { addresses } = this.limits;
    if (this.addresses + waiting < addresses) return undefined;
    return this.#full('addresses', 'Address', addresses, 'Unbind one');
  }

  /** True if a further session must be refused, with `refuseSession`. */
  get hasAllSessions(): boolean {
    return this.sessions >= this.limits.sessions;
  }

  /** Returns why a further session is refused. */
  refuseSession(): string {
    return this.#full('sessions', 'Session', this.limits.sessions, 'Close a connection');
  }

  #full(kind: QuotaKind, name: string, limit: number, fix: string): string {
    this.#deps.counters.exceedQuota(kind);
    return `${name} limit of ${this.id} reached (${limit}). ${fix}, or raise \`${kind}\` in the limits of the policy file.`;
  }

  /** True if the state of the principal may be removed: its rates have recovered, or it has been idle for a minute. */
  isForgettable(now: number): boolean {
    const isFull = this.#messages.isFull(now) && this.#bytes.isFull(now) && this.#attaches.isFull(now);
    return isFull || now - this.idleSince >= IDLE_MS;
  }
}
