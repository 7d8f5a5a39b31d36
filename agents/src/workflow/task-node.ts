// Types of a task tree: the work that can be added, the nodes, their states, stages and events, and the interfaces that code
// inside the tree uses. `define.ts` declares jobs and handlers; a `JobRef` or `HandlerCall` describes work that has not started.
// The tree creates a node for it when it is put, called, forked or reached by an edge.

// ---- work

/** `fail-fast`: an error of a child fails its parent. `isolate`: it stays on the child. */
export type ErrorMode = 'fail-fast' | 'isolate';

interface Work {
  readonly name: string;
  readonly errors: ErrorMode | undefined;
  readonly timeoutMs: number | undefined;
  readonly body: (self: Self) => unknown;
}

/** Work that has not started. `R` is the type of its result. */
abstract class WorkDescription<R> {
  readonly name: string;
  readonly work: Work;
  /** Callbacks of the nodes that are made from it, in the order of registration. */
  // biome-ignore lint/suspicious/noExplicitAny: the type of the result is known to the caller alone.
  readonly callbacks: { readonly stage: Stage; readonly fn: StageCallback<any> }[] = [];
  /** Carries the type only. */
  declare readonly result?: R;

  constructor(work: Work) {
    this.name = work.name;
    this.work = work;
  }

  /** Adds a callback before the work is added to a tree. Every node that is made from it has the callback; see `TaskNode.on`. */
  on(stage: Stage, fn: StageCallback<R>): this {
    this.callbacks.push({ stage, fn });
    return this;
  }
}

/** A job with its input. */
export class JobRef<R = unknown> extends WorkDescription<R> {
  readonly kind = 'job';
}

/** A handler with its arguments. */
export class HandlerCall<R = unknown> extends WorkDescription<R> {
  readonly kind = 'handler';
}

// biome-ignore lint/suspicious/noExplicitAny: an edge leads between nodes of any result.
export type WorkRef = JobRef<any> | HandlerCall<any>;

/** Handle of work that was added to a tree. Awaiting it returns the result or throws the error. Awaiting it is optional. */
export interface WorkHandle<R> extends PromiseLike<R> {
  readonly node: TaskNode<R>;
}
export type JobHandle<R = unknown> = WorkHandle<R>;
export type HandlerHandle<R = unknown> = WorkHandle<R>;

// biome-ignore lint/suspicious/noExplicitAny: branches return what they like.
export type Branches = Record<string, HandlerCall<any>>;
export type Joined<B extends Branches> = { [K in keyof B]: B[K] extends HandlerCall<infer R> ? R : never };

/** Interface of the tree for a body. */
export interface Self<D = unknown> {
  readonly node: TaskNode;
  /** Aborts when the node is cancelled, fails or exceeds its timeout. */
  readonly signal: AbortSignal;
  /** Data of the application; an edge passes it on. */
  data: D;
  readonly commander: TreeCommander;
  /** Queues a job. Jobs run one after the other, so a job's body must not await one. @throws {NODE_SETTLED | WORKFLOW_LIMIT} */
  putJob<R>(job: JobRef<R>, options?: { parent?: TaskNode | undefined }): WorkHandle<R>;
  /** Starts a handler; await the handle for its result. @throws {NODE_SETTLED | WORKFLOW_LIMIT} */
  call<R>(handler: HandlerCall<R>, options?: { parent?: TaskNode | undefined }): WorkHandle<R>;
  /**
   * Starts handlers side by side and waits for all. The first error aborts the others and is thrown once they have ended. Under
   * `isolate` the others go on, and the result of a failed branch is undefined.
   */
  fork<B extends Branches>(branches: B): Promise<Joined<B>>;
  /** Ends the run with this result; the rest of the tree is cancelled. */
  exitCommander(result?: unknown): void;
}

/** Interface of the commander for code inside its tree. `Commander` implements it. */
export interface TreeCommander {
  readonly root: TaskNode;
  readonly running: boolean;
  readonly liveNodes: number;
  isEmpty(): boolean;
  submit<T>(job: JobRef<T>): JobHandle<T>;
  call<T>(handler: HandlerCall<T>): HandlerHandle<T>;
  requestExit(result?: unknown): void;
  exit(result?: unknown): Promise<ExitReport>;
  waitForExit(): Promise<unknown>;
}

// ---- nodes

/** `pending` at first, `queued` for a job that waits its turn, then `active`, then one of three final states. */
export type NodeState = 'pending' | 'queued' | 'active' | 'completed' | 'failed' | 'cancelled';
export type NodeKind = 'commander' | 'job' | 'handler';

/** Result of a node. `suppressed` holds the errors that came after the first. */
export type NodeOutcome<R = unknown> =
  | { status: 'completed'; result: R }
  | { status: 'failed'; error: unknown; suppressed: readonly unknown[] }
  | { status: 'cancelled'; reason: unknown };

/** Identity of a node in events and reports. */
export interface NodeName {
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
}

export interface TaskNode<R = unknown> extends NodeName {
  /** Child positions from the commander, such as "1.3.2"; stable from creation. */
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
  readonly state: NodeState;
  readonly parent: TaskNode | null;
  /** All children; for the commander, only those that have not settled. */
  readonly children: readonly TaskNode[];
  /** Aborts when the node is cancelled, fails or exceeds its timeout. */
  readonly signal: AbortSignal;
  /** Result of the body; if that was a handler, the handler's result. */
  readonly result: R | undefined;
  readonly error: unknown;
  /** Errors that came after the first. */
  readonly suppressed: readonly unknown[];
  /** Time from its start until its end, or until now, in ms; 0 before the start. */
  readonly elapsedMs: number;
  /** Resolves when the node and all below it have ended; never rejects. */
  readonly settled: Promise<NodeOutcome<R>>;
  /** Iterates from the parent up to the commander. */
  ancestors(): Iterable<TaskNode>;
  /** Returns the nearest ancestor of that kind or name. */
  find(kindOrName: string): TaskNode | undefined;
  /** Adds a callback. The callbacks of a stage run one after the other. A callback that throws fails the node. */
  on(stage: Stage, fn: StageCallback<R>): this;
  /**
   * Aborts the node and all below it and waits until they have ended, at most for the grace time. Called from inside the
   * subtree it does not wait.
   */
  terminate(reason?: unknown): Promise<TerminateReport>;
}

// ---- stages, events, reports

/**
 * When callbacks run. A node that completes passes start and end; one that fails start, exception and end; one that is
 * cancelled start and terminate. `at_commander_end` runs once when the run ends, in the order of registration.
 */
export const STAGES = [
  'at_job_start',
  'at_handler_start',
  'at_exception',
  'at_terminate',
  'at_handler_end',
  'at_job_end',
  'at_commander_end',
] as const;
export type Stage = (typeof STAGES)[number];

export interface StageEvent<R = unknown> {
  stage: Stage;
  node: TaskNode<R>;
  commander: TreeCommander;
  result?: R;
  error?: unknown;
  /** Reason of the cancellation. */
  reason?: unknown;
}
export type StageCallback<R = unknown> = (event: StageEvent<R>) => void | Promise<void>;

export type NodeEvent =
  | ({ type: 'state'; state: NodeState } & NodeName)
  /** A job's body holds the queue for longer than `slowJobMs`. */
  | ({ type: 'slow_job'; ms: number } & NodeName)
  /** The code of a cancelled node was still running after the grace time. */
  | ({ type: 'unresponsive' } & NodeName);

export interface TerminateReport {
  /** Nodes whose code was still running when the grace time was over; its later effects are ignored. */
  readonly unresponsive: readonly NodeName[];
}

/** Nodes that an exit ended early. */
export interface ExitReport extends TerminateReport {
  /** Nodes that had started. */
  readonly cancelled: readonly NodeName[];
  /** Jobs that waited in the queue and never started. */
  readonly discarded: readonly NodeName[];
}
