// Admission of immediate calls. They do not count towards the agent's limit on calls, and have limits by what they hold.
//
// A short call holds memory: an answer of up to one envelope while it is read and built. So few run at once, and the others wait in
// a bounded line, in which callers take turns. Beyond the line a call is refused.
//
// A long call holds little, and mostly waits: for a turn, an event or another process. It may last for hours, so a call behind it
// must not wait for its end: it is refused at once. Each long operation has a limit of its own, so open turns and subscriptions
// never take the place of a cancellation or of a short call.
//
// The answers that wait for credit belong to the link, which has its own limit.
import { FabricError, type IncomingCall } from '@fame-fabric/shared';
import type { Operation } from './operation.ts';
import { type Job, Scheduler } from './scheduler.ts';

/** Limits of immediate calls. Calls beyond them are refused with NODE_BUSY. A caller is a node: the path of its replyTo. */
export interface ImmediateLimits {
  /** Limit of running short calls; others wait in line. @default 64 */
  maxRunning?: number | undefined;
  /** Limit of running short calls of one caller. @default 16 */
  maxRunningPerCaller?: number | undefined;
  /** Limit of waiting short calls. @default 8_192 */
  maxWaiting?: number | undefined;
  /** Limit of waiting short calls of one caller. @default 2_048 */
  maxWaitingPerCaller?: number | undefined;
  /** Limit of open calls of each operation that may take long. @default 16_384 */
  maxOpen?: number | undefined;
  /** Limit of one caller's open calls of each operation that may take long. @default 4_096 */
  maxOpenPerCaller?: number | undefined;
}

export class ImmediateCalls {
  readonly #short: Scheduler;
  readonly #long = new Map<Operation, Scheduler>();

  constructor(operations: Iterable<Operation>, limits: ImmediateLimits = {}) {
    this.#short = new Scheduler({
      maxConcurrent: limits.maxRunning ?? 64,
      maxConcurrentPerKey: limits.maxRunningPerCaller ?? 16,
      maxWaiting: limits.maxWaiting ?? 8_192,
      maxWaitingPerKey: limits.maxWaitingPerCaller ?? 2_048,
    });
    for (const operation of operations) {
      if (!operation.immediate || !operation.mayTakeLong) continue;
      const places = new Scheduler({
        maxConcurrent: limits.maxOpen ?? 16_384,
        maxConcurrentPerKey: limits.maxOpenPerCaller ?? 4_096,
        maxWaiting: 0,
      });
      this.#long.set(operation, places);
    }
  }

  /** Runs the call now or in its turn. @throws {NODE_BUSY} at a limit */
  submit(call: IncomingCall, operation: Operation, job: Omit<Job, 'key'>): void {
    const { scope, run, abandon } = job;
    const places = this.#long.get(operation) ?? this.#short;
    if (places.submit({ key: callerOf(call), scope, run, abandon })) return;
    const fault =
      places === this.#short
        ? 'has too many waiting calls; call again later'
        : `has too many open calls of ${call.method}; call again when some of them have ended`;
    throw new FabricError('NODE_BUSY', `${call.address} ${fault}`);
  }

  /** Resolves when no immediate call runs or waits. */
  async idle(): Promise<void> {
    await Promise.all([this.#short, ...this.#long.values()].map((places) => places.idle()));
  }
}

// The mailbox before the path may differ for each call, so it does not count. A node can write longer paths below its own, and is
// then several callers here: the limits of the agent still hold.
function callerOf({ replyTo }: IncomingCall): string {
  return replyTo.slice(replyTo.indexOf('@') + 1);
}
