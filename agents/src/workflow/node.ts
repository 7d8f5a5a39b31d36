// One node of a running tree: the facts about it. What happens to it is decided in `tree-run.ts`.
import type { Timer } from '@fame-fabric/shared';
import type { NodeHandle, NodeRef } from './define.ts';
import type {
  NodeKind,
  NodeName,
  NodeOutcome,
  NodeState,
  Stage,
  StageCallback,
  TaskNode,
  TerminateReport,
} from './task-node.ts';
import type { TreeRun } from './tree-run.ts';

/** What a branch of a fork tells the others. */
export interface ForkBranches {
  /** A branch has failed. */
  failed(error: unknown, reason: unknown): void;
  /** A branch threw although it was told to stop. */
  also(error: unknown): void;
}

export class Node implements TaskNode {
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
  readonly parent: Node | null;
  readonly depth: number;
  readonly run: TreeRun;
  /** What it was made from; null for the commander. */
  readonly ref: NodeRef | null;
  /** Whether an error of a child stays on the child. */
  readonly isolates: boolean;

  state: NodeState = 'pending';
  result: unknown;
  error: unknown;
  readonly suppressed: unknown[] = [];
  data: unknown;
  /** Names of the nodes that edges led through to here. */
  path: readonly string[];

  /** Children that have not settled. */
  readonly live = new Set<Node>();
  readonly #kept: Node[] = [];
  #born = 0;
  /** The root-level ancestor counts what it started. */
  started = 0;

  bodyDone = false;
  /** Set once its last callbacks run: nothing can be added any more. */
  isFinishing = false;
  isSettled = false;
  isFailing = false;
  /** Why it is being cancelled. */
  cancel: { readonly reason: unknown } | undefined;
  /** Somebody awaits its value, and gets its error. */
  isAwaited = false;
  isStubborn = false;
  /** Callbacks of `at_exception` that still run. */
  pendingStages = 0;
  /** Set for the branches of a fork. */
  fork: ForkBranches | undefined;
  /** The handler whose value is this job's. */
  resultOf: Node | undefined;

  startedAt: number | undefined;
  endedAt: number | undefined;
  graceTimer: Timer | undefined;
  workTimer: Timer | undefined;

  #callbacks: Map<Stage, StageCallback[]> | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #settled: Promise<NodeOutcome> | undefined;
  #resolve: ((outcome: NodeOutcome) => void) | undefined;

  constructor(run: TreeRun, parent: Node | null, ref: NodeRef | null, isolates: boolean) {
    this.run = run;
    this.parent = parent;
    this.ref = ref;
    this.kind = ref?.kind ?? 'commander';
    this.name = ref?.name ?? 'commander';
    this.path = [this.name];
    this.isolates = isolates;
    this.depth = parent ? parent.depth + 1 : 0;
    this.id = parent ? parent.adopt(this) : '1';
  }

  /** Takes a child in; its id. */
  adopt(child: Node): string {
    this.#born += 1;
    this.live.add(child);
    // The commander lives long and would keep every round there ever was.
    if (this.parent) this.#kept.push(child);
    return `${this.id}.${this.#born}`;
  }

  /** Whether work may still be added below it. */
  get isOpen(): boolean {
    return !(this.isSettled || this.isFinishing || this.isFailing || this.cancel);
  }

  get children(): readonly Node[] {
    return this.parent ? [...this.#kept] : [...this.live];
  }

  /** Made when first asked for: most nodes never need one. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }

  get elapsedMs(): number {
    return this.startedAt === undefined ? 0 : (this.endedAt ?? this.run.clock.now()) - this.startedAt;
  }

  get outcome(): NodeOutcome {
    if (this.state === 'failed') return { status: 'failed', error: this.error, suppressed: this.suppressed };
    if (this.state === 'cancelled') return { status: 'cancelled', reason: this.cancel?.reason };
    return { status: 'completed', result: this.result };
  }

  get settled(): Promise<NodeOutcome> {
    this.#settled ??= this.isSettled
      ? Promise.resolve(this.outcome)
      : new Promise((resolve) => {
          this.#resolve = resolve;
        });
    return this.#settled;
  }

  /** Tells whoever waits that it has settled. */
  announce(): void {
    this.#resolve?.(this.outcome);
  }

  *ancestors(): Iterable<Node> {
    for (let node = this.parent; node; node = node.parent) yield node;
  }

  find(kindOrName: string): Node | undefined {
    for (const node of this.ancestors())
      if (node.kind === kindOrName || node.name === kindOrName) return node;
    return undefined;
  }

  // biome-ignore lint/suspicious/noExplicitAny: the type of the result is known to the caller alone.
  on(stage: Stage, fn: StageCallback<any>): this {
    if (stage === 'at_commander_end') {
      this.run.atEnd(this, fn);
      return this;
    }
    this.#callbacks ??= new Map();
    const list = this.#callbacks.get(stage);
    if (list) list.push(fn);
    else this.#callbacks.set(stage, [fn]);
    return this;
  }

  /** Keeps the callbacks of the commander node of an earlier run. */
  adoptCallbacks(earlier: Node): void {
    this.#callbacks = earlier.#callbacks;
  }

  callbacks(stage: Stage): readonly StageCallback[] | undefined {
    return this.#callbacks?.get(stage);
  }

  terminate(reason?: unknown): Promise<TerminateReport> {
    return this.run.terminate(this, reason);
  }

  /** How reports name it. */
  get asName(): NodeName {
    return { id: this.id, kind: this.kind, name: this.name };
  }
}

/** Makes a node awaitable. Without a reader its error goes its way up the tree, and never becomes an unhandled rejection. */
export class Handle<R> implements NodeHandle<R> {
  readonly node: TaskNode<R>;
  readonly #node: Node;

  constructor(node: Node) {
    this.#node = node;
    this.node = node as TaskNode<R>;
  }

  // biome-ignore lint/suspicious/noThenProperty: being awaitable is what a handle is for.
  then<A = R, B = never>(
    onValue?: ((value: R) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#node.isAwaited = true;
    const value = this.#node.settled.then((outcome) => {
      if (outcome.status === 'completed') return outcome.result as R;
      throw outcome.status === 'failed' ? outcome.error : outcome.reason;
    });
    const result = value.then(onValue, onError);
    if (!onError) result.catch(() => {});
    return result;
  }
}
