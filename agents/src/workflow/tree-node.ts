// One node of a running tree: its state, and queries on it. `tree-run.ts` has the transitions.
import type { Clock, Timer } from '@fame-fabric/shared';
import type {
  NodeKind,
  NodeName,
  NodeOutcome,
  NodeState,
  Stage,
  StageCallback,
  TaskNode,
  TerminateReport,
  TreeCommander,
  WorkRef,
} from './task-node.ts';

/** Interface of the run for its nodes. `TreeRun` implements it. */
export interface NodeRun {
  readonly clock: Clock;
  readonly commander: TreeCommander;
  /** @throws {COMMANDER_STOPPED | NODE_SETTLED | WORKFLOW_LIMIT} */
  add(parent: TreeNode, ref: WorkRef): TreeNode;
  cancel(node: TreeNode, reason: unknown): void;
  terminate(node: TreeNode, reason?: unknown): Promise<TerminateReport>;
  onEnd(node: TreeNode, fn: StageCallback): void;
}

/** The fork that a branch belongs to. */
export interface Fork {
  /** A branch failed. */
  branchFailed(error: unknown, reason: unknown): void;
  /** A branch threw another error after it was cancelled. */
  suppress(error: unknown): void;
}

export class TreeNode implements TaskNode {
  readonly id: string;
  readonly kind: NodeKind;
  readonly name: string;
  readonly parent: TreeNode | null;
  readonly depth: number;
  readonly run: NodeRun;
  /** Work that it was made from; null for the commander. */
  readonly ref: WorkRef | null;
  /** True if an error of a child stays on the child. */
  readonly isolates: boolean;

  state: NodeState = 'pending';
  result: unknown;
  error: unknown;
  readonly suppressed: unknown[] = [];
  data: unknown;
  /** Names of the nodes on the edges that led here. */
  path: readonly string[];

  /** Children that have not settled. */
  readonly live = new Set<TreeNode>();
  readonly #kept: TreeNode[] = [];
  #childCount = 0;
  /** For a node directly under the commander: number of nodes started below it. */
  started = 0;

  /** `finishing`: the last callbacks are running and no work can be added. `settled`: final. */
  phase: 'open' | 'finishing' | 'settled' = 'open';
  bodyDone = false;
  isFailing = false;
  /** Set when the node is cancelled. */
  cancel: { readonly reason: unknown } | undefined;
  /** True if a caller awaits the result, and so receives the error. */
  isAwaited = false;
  /** True if its code was still running after the grace time. */
  isUnresponsive = false;
  /** Running callbacks of `at_exception`. */
  pendingStages = 0;
  /** Set for the branches of a fork. */
  fork: Fork | undefined;
  /** The handler whose result is this job's. */
  resultOf: TreeNode | undefined;

  /** Monotonic, in ms. */
  startedAt: number | undefined;
  /** Monotonic, in ms. */
  endedAt: number | undefined;
  graceTimer: Timer | undefined;
  workTimer: Timer | undefined;

  #callbacks: Map<Stage, StageCallback[]> | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;
  #settled: Promise<NodeOutcome> | undefined;
  #resolve: ((outcome: NodeOutcome) => void) | undefined;

  constructor(run: NodeRun, parent: TreeNode | null, ref: WorkRef | null, isolates: boolean) {
    this.run = run;
    this.parent = parent;
    this.ref = ref;
    this.kind = ref?.kind ?? 'commander';
    this.name = ref?.name ?? 'commander';
    this.path = [this.name];
    this.isolates = isolates;
    this.depth = parent ? parent.depth + 1 : 0;
    this.id = parent ? parent.adopt(this) : '1';
    for (const { stage, fn } of ref?.callbacks ?? []) this.on(stage, fn);
  }

  /** Adds a child and returns its id. */
  adopt(child: TreeNode): string {
    this.#childCount += 1;
    this.live.add(child);
    // The commander runs for long, so it does not keep its settled children.
    if (this.parent) this.#kept.push(child);
    return `${this.id}.${this.#childCount}`;
  }

  /** True while work may be added below it. */
  get isOpen(): boolean {
    return this.phase === 'open' && !this.isFailing && !this.cancel;
  }

  /** True from the start of the last callbacks. */
  get isClosed(): boolean {
    return this.phase !== 'open';
  }

  get isSettled(): boolean {
    return this.phase === 'settled';
  }

  get children(): readonly TreeNode[] {
    return this.parent ? [...this.#kept] : [...this.live];
  }

  /** Created on first use: most nodes never need one. */
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
    return this.startedAt === undefined ? 0 : (this.endedAt ?? this.run.clock.monotonic()) - this.startedAt;
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

  /** Resolves `settled`. */
  resolveSettled(): void {
    this.#resolve?.(this.outcome);
  }

  *ancestors(): Iterable<TreeNode> {
    for (let node = this.parent; node; node = node.parent) yield node;
  }

  find(kindOrName: string): TreeNode | undefined {
    for (const node of this.ancestors())
      if (node.kind === kindOrName || node.name === kindOrName) return node;
    return undefined;
  }

  // biome-ignore lint/suspicious/noExplicitAny: the type of the result is known to the caller alone.
  on(stage: Stage, fn: StageCallback<any>): this {
    if (stage === 'at_commander_end') {
      this.run.onEnd(this, fn);
      return this;
    }
    this.#callbacks ??= new Map();
    const list = this.#callbacks.get(stage);
    if (list) list.push(fn);
    else this.#callbacks.set(stage, [fn]);
    return this;
  }

  /** The ancestor directly under the commander; the commander returns itself. */
  get top(): TreeNode {
    let top: TreeNode = this;
    while (top.parent?.parent) top = top.parent;
    return top;
  }

  /** Iterates over this node and all known nodes below it. */
  *subtree(): Generator<TreeNode> {
    yield this;
    for (const child of this.children) yield* child.subtree();
  }

  /** Takes over the callbacks of the commander's node of an earlier run. */
  adoptCallbacks(earlier: TreeNode): void {
    this.#callbacks = earlier.#callbacks;
  }

  callbacks(stage: Stage): readonly StageCallback[] | undefined {
    return this.#callbacks?.get(stage);
  }

  terminate(reason?: unknown): Promise<TerminateReport> {
    return this.run.terminate(this, reason);
  }

  /** Identity of the node for events and reports. */
  get asName(): NodeName {
    return { id: this.id, kind: this.kind, name: this.name };
  }
}
