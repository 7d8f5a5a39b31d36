// Counters that the path increments and `/metrics` prints. Plain numbers: an increment is all that a message pays.

/** Reasons for which connections of nodes end, as `/metrics` counts them. */
export type DetachReason =
  | 'left'
  | 'lost'
  | 'silent'
  | 'slow'
  | 'shed'
  | 'bad_frames'
  | 'quota'
  | 'credential'
  | 'restart';

export class Counters {
  /** Messages received from nodes and other sentinels, without pings. */
  received = 0;
  receivedBytes = 0;
  forwarded = 0;
  forwardedBytes = 0;
  /** Messages that went through the codec because their shape was not the plain one. */
  decoded = 0;
  /** Messages to mailboxes that had no grant. */
  ungranted = 0;
  refused: Record<string, number> = Object.create(null);
  badFrames = 0;
  attached = 0;
  /** Attaches that continued a session. */
  resumed = 0;
  detached = 0;
  detachedBy: Record<string, number> = Object.create(null);
  closedSlow = 0;
  /** Nodes closed because they ignored their credit. */
  closedOverrun = 0;
  /** Nodes closed because the sentinel was short of memory. */
  closedShed = 0;
  /** Pauses of nodes that sent more than they were granted. */
  paused = 0;
  /** Requests, attaches and connections above a quota of a principal or an address, by kind. */
  quotaExceeded: Record<string, number> = Object.create(null);
  /** Grants of credit that were withheld because a principal was above its rate. */
  quotaSlowed = 0;
  /** Pauses of nodes that kept sending above the rate of their principal. */
  quotaPaused = 0;
  /** Nodes closed because they kept sending above the rate of their principal. */
  closedQuota = 0;

  exceedQuota(kind: string): void {
    this.quotaExceeded[kind] = (this.quotaExceeded[kind] ?? 0) + 1;
  }

  detach(reason: DetachReason): void {
    this.detached++;
    this.detachedBy[reason] = (this.detachedBy[reason] ?? 0) + 1;
  }

  refuse(code: string): void {
    this.refused[code] = (this.refused[code] ?? 0) + 1;
  }
}
