// Jobs and handlers are declared once and called many times; a call is a plain description of work that has not begun. The
// tree makes a node of it when it is put, called, forked or reached by an edge.
import type { Commander } from './commander.ts';
import type { TaskNode } from './task-node.ts';

/** Whether an error of a child fails its parent, or stays on the child alone. */
export type ErrorMode = 'fail-fast' | 'isolate';

/** What a body is given of the tree. */
export interface Self<D = unknown> {
  readonly node: TaskNode;
  /** Aborts when the node is cancelled, has failed or has run too long. */
  readonly signal: AbortSignal;
  /** Free for use; an edge hands it on. */
  data: D;
  readonly commander: Commander;
  /** Queues a job. Jobs run one after the other, so a job's body must not await one. @throws {NODE_SETTLED | WORKFLOW_LIMIT} */
  putJob<R>(job: JobRef<R>, options?: { parent?: TaskNode }): NodeHandle<R>;
  /** Starts a handler; await the handle for its value. @throws {NODE_SETTLED | WORKFLOW_LIMIT} */
  call<R>(handler: HandlerCall<R>, options?: { parent?: TaskNode }): NodeHandle<R>;
  /**
   * Starts handlers side by side and waits for all. The first error aborts the others and is thrown once they have ended. Under
   * `isolate` the others go on, and a branch that failed is undefined.
   */
  fork<B extends Branches>(branches: B): Promise<Joined<B>>;
  /** Ends the run with this result; the rest of the tree is cancelled. */
  exitCommander(result?: unknown): void;
}

// biome-ignore lint/suspicious/noExplicitAny: branches return what they like.
export type Branches = Record<string, HandlerCall<any>>;
export type Joined<B extends Branches> = { [K in keyof B]: B[K] extends HandlerCall<infer R> ? R : never };

/** A node that was put or called. Awaiting it gives its value, or throws its error; not awaiting it is fine. */
export interface NodeHandle<R> extends PromiseLike<R> {
  readonly node: TaskNode<R>;
}
export type JobHandle<R = unknown> = NodeHandle<R>;
export type HandlerHandle<R = unknown> = NodeHandle<R>;

interface Work {
  readonly name: string;
  readonly errors: ErrorMode | undefined;
  readonly timeoutMs: number | undefined;
  readonly body: (self: Self) => unknown;
}

/** A job with its input. `R` is the type of its result. */
export class JobRef<R = unknown> {
  readonly kind = 'job';
  readonly name: string;
  readonly work: Work;
  /** Only for the type. */
  declare readonly result?: R;

  constructor(work: Work) {
    this.name = work.name;
    this.work = work;
  }
}

/** A handler with its arguments. `R` is the type of its result. */
export class HandlerCall<R = unknown> {
  readonly kind = 'handler';
  readonly name: string;
  readonly work: Work;
  /** Only for the type. */
  declare readonly result?: R;

  constructor(work: Work) {
    this.name = work.name;
    this.work = work;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: an edge leads between nodes of any result.
export type NodeRef = JobRef<any> | HandlerCall<any>;

/**
 * Declares a job: a step that runs alone. The queue waits for its body, so what takes long belongs into a handler, which the
 * body calls, or returns to have its value as the job's.
 */
export function defineJob<I = void, R = void>(
  name: string,
  body: (self: Self, input: I) => R | HandlerCall<R> | Promise<R | HandlerCall<R>>,
  options: { errors?: ErrorMode } = {},
): (input: I) => JobRef<R> {
  const { errors } = options;
  return (input) => new JobRef({ name, errors, timeoutMs: undefined, body: (self) => body(self, input) });
}

/** Declares a handler: a step that runs beside others. After `timeoutMs` it fails with NODE_TIMEOUT. */
export function defineHandler<A extends unknown[], R>(
  name: string,
  body: (self: Self, ...args: A) => Promise<R> | R,
  options: { timeoutMs?: number; errors?: ErrorMode } = {},
): (...args: A) => HandlerCall<R> {
  const { timeoutMs, errors } = options;
  return (...args) => new HandlerCall({ name, errors, timeoutMs, body: (self) => body(self, ...args) });
}
