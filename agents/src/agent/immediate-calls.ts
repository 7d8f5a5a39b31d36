// Admission control of immediate calls. They do not count towards the agent's limit on calls and have limits of their own.
//
// A short call holds memory: it builds an answer of up to one envelope. So only a few short calls run at once. The others wait in a
// bounded queue, which serves the callers round robin. Calls that find the queue full are refused.
//
// A long call holds little memory and mostly waits for a turn, an event or another process. It may last for hours, so calls at the
// limit are refused instead of queued. Each long operation has its own limit. So open turns and subscriptions never take the slot
// of a cancellation or of a short call.
//
// The link bounds the answers that wait for credit.
import { FabricError, type IncomingCall } from '@fame-fabric/shared';
import type { Operation } from './operation.ts';
import { type Job, Scheduler } from './scheduler.ts';

/** Limits of immediate calls. Calls beyond them are refused with NODE_BUSY. A caller is a node: the path of its replyTo. */
export interface ImmediateLimits {
  /** Limit of running short calls; the others are queued. @default 64 */
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

  /** Runs the call now or queues it. @throws {NODE_BUSY} at a limit */
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

// The mailbox before the path may differ for each call, so it does not count. A node that writes longer paths
// below its own counts as several callers; the limits of the agent still hold.
function callerOf({ replyTo }: IncomingCall): string {
  return replyTo.slice(replyTo.indexOf('@') + 1);
}
