// What can be seen of a task tree from outside: its nodes, their states, the stages at which callbacks run, and the events.
import type { Commander } from './commander.ts';

/** `pending` before it is taken in, `queued` for a job that waits its turn, then `active`, then one of three final states. */
export type NodeState = 'pending' | 'queued' | 'active' | 'completed' | 'failed' | 'cancelled';
export type NodeKind = 'commander' | 'job' | 'handler';

/**
 * When callbacks run. A node that completes passes start and end; one that fails start, exception and end; one that is
 * cancelled start and terminate. `at_commander_end` runs once when the run ends, in the order of registration.
 */
export type Stage =
  | 'at_job_start'
  | 'at_handler_start'
  | 'at_exception'
  | 'at_terminate'
  | 'at_handler_end'
  | 'at_job_end'
  | 'at_commander_end';

export interface StageEvent<R = unknown> {
  stage: Stage;
  node: TaskNode<R>;
  commander: Commander;
  result?: R;
  error?: unknown;
  /** Why the node was cancelled. */
  reason?: unknown;
}
export type StageCallback<R = unknown> = (event: StageEvent<R>) => void | Promise<void>;

/** What a node came to. `suppressed` holds the errors that came after the first. */
export type NodeOutcome<R = unknown> =
  | { status: 'completed'; result: R }
  | { status: 'failed'; error: unknown; suppressed: readonly unknown[] }
  | { status: 'cancelled'; reason: unknown };

/** How a report names a node. */
export interface NodeName {
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
}

export interface TerminateReport {
  /** Nodes whose code was still running when the grace time was over; what they do later is ignored. */
  readonly stubborn: readonly NodeName[];
}

/** What an exit cut off. */
export interface ExitReport extends TerminateReport {
  /** Nodes that had started. */
  readonly cancelled: readonly NodeName[];
  /** Jobs that waited in the queue and never started. */
  readonly discarded: readonly NodeName[];
}

export interface TaskNode<R = unknown> extends NodeName {
  /** Such as "1.3.2": the path of places from the commander, stable from creation. */
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
  readonly state: NodeState;
  readonly parent: TaskNode | null;
  /** Its children; the commander keeps those that still live, every other node keeps all. */
  readonly children: readonly TaskNode[];
  /** Aborts with the node. */
  readonly signal: AbortSignal;
  /** The value of the body; if that was a handler, the handler's value. */
  readonly result: R | undefined;
  readonly error: unknown;
  /** Errors that came after the first. */
  readonly suppressed: readonly unknown[];
  /** From its start until now or its end, in milliseconds; 0 before. */
  readonly elapsedMs: number;
  /** Resolves when the node and all below it have ended; never rejects. */
  readonly settled: Promise<NodeOutcome<R>>;
  /** From the parent up to the commander. */
  ancestors(): Iterable<TaskNode>;
  /** The nearest ancestor of that kind or name. */
  find(kindOrName: string): TaskNode | undefined;
  /** Adds a callback; those of one stage run one after the other, awaited. One that throws fails the node. */
  on(stage: Stage, fn: StageCallback<R>): this;
  /**
   * Aborts the node and all below it and waits until they have ended, at most for the grace time. Called from inside the
   * subtree it does not wait.
   */
  terminate(reason?: unknown): Promise<TerminateReport>;
}

export type NodeEvent =
  | ({ type: 'state'; state: NodeState } & NodeName)
  /** A job's body holds the queue for longer than `slowJobMs`. */
  | ({ type: 'slow_job'; ms: number } & NodeName)
  /** A cancelled node's code went on after the grace time. */
  | ({ type: 'stubborn' } & NodeName);
