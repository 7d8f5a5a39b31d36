// THE PATH of a node: taken in, started, its body run, its children waited for, its callbacks run, settled, its parent told. One
// object of this class is one run of a commander. It works in plain calls and reactions, bottom-up and without polling; only
// bodies, callbacks and grace times take time. What a user sees of it is in `commander.ts`.
import { AsyncLocalStorage } from 'node:async_hooks';
import { type Clock, FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import type { Commander } from './commander.ts';
import { HandlerCall, type NodeRef } from './define.ts';
import { EdgeVisits } from './edges.ts';
import { Node } from './node.ts';
import { NodeSelf } from './node-self.ts';
import type {
  ExitReport,
  NodeEvent,
  NodeName,
  Stage,
  StageCallback,
  StageEvent,
  TerminateReport,
} from './task-node.ts';

export interface RunOptions {
  readonly isolates: boolean;
  readonly graceMs: number;
  /** Most nodes of the run; undefined counts only what one root-level node starts, up to DEFAULT_MAX_NODES. */
  readonly maxNodes: number | undefined;
  readonly maxDepth: number;
  readonly slowJobMs: number;
}
export const DEFAULT_MAX_NODES = 10_000;

/** Which node's body or callback the running code belongs to: to know who would wait for himself. */
const current = new AsyncLocalStorage<Node>();

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

/** How much of the way down an error tells. */
const MAX_PATH = 32;
/** The longest time that a timer can wait; a longer one is none. */
const MAX_TIMER_MS = 2_147_483_647;

interface EndCallback {
  readonly node: Node;
  readonly fn: StageCallback;
}

export class TreeRun {
  readonly root: Node;
  readonly commander: Commander;
  readonly clock: Clock;
  /** Resolves when the run has ended; `failure` and `value` tell how. */
  readonly ended: Promise<void>;
  failure: { readonly error: unknown } | undefined;
  value: unknown;
  /** Nodes that have not settled, without the commander itself. */
  liveNodes = 0;
  state: 'idle' | 'running' | 'ending' | 'ended' = 'idle';

  readonly #logger: Logger;
  readonly #options: RunOptions;
  readonly #emit: (event: NodeEvent) => void;
  readonly #resolveEnded: () => void;
  readonly #endCallbacks: EndCallback[] = [];
  readonly #visits = new EdgeVisits();
  readonly #stubborn: NodeName[] = [];
  #queue: Node[] = [];
  /** The job whose body the queue waits for. */
  #holder: Node | undefined;
  #isPumping = false;
  #created = 0;
  #autoExit = false;
  /** Set once nothing new is taken in any more. */
  #leaving = false;
  #cut: { cancelled: readonly NodeName[]; discarded: readonly NodeName[] } = { cancelled: [], discarded: [] };

  constructor(
    commander: Commander,
    deps: { clock: Clock; logger: Logger; emit: (event: NodeEvent) => void },
    options: RunOptions,
    /** The run before: what was registered on its commander node holds for every run. */
    previous?: TreeRun,
  ) {
    this.commander = commander;
    this.clock = deps.clock;
    this.#logger = deps.logger;
    this.#emit = deps.emit;
    this.#options = options;
    this.root = new Node(this, null, null, options.isolates);
    if (previous) {
      this.root.adoptCallbacks(previous.root);
      const kept = previous.#endCallbacks.filter(({ node }) => node === previous.root);
      for (const { fn } of kept) this.atEnd(this.root, fn);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  get report(): ExitReport {
    return { ...this.#cut, stubborn: [...this.#stubborn] };
  }

  get isEmpty(): boolean {
    return this.root.live.size === 0;
  }

  /** Whether the calling code runs inside this tree, or inside the part of it below `node`. */
  isInside(node: Node = this.root): boolean {
    for (let at: Node | null | undefined = current.getStore(); at; at = at.parent)
      if (at === node) return true;
    return false;
  }

  atEnd(node: Node, fn: StageCallback): void {
    this.#endCallbacks.push({ node, fn });
  }

  start(refs: readonly NodeRef[], autoExit: boolean): void {
    this.state = 'running';
    this.#autoExit = autoExit;
    this.root.startedAt = this.clock.now();
    this.#setState(this.root, 'active');
    this.root.bodyDone = true;
    try {
      for (const ref of refs) this.add(this.root, ref);
    } catch (error) {
      this.#fail(this.root, error);
    }
    this.#finish(this.root);
  }

  // ---- taking in

  /** @throws {COMMANDER_STOPPED | NODE_SETTLED | WORKFLOW_LIMIT} */
  add(parent: Node, ref: NodeRef): Node {
    this.#checkOpen(parent);
    this.#checkLimits(parent);
    const isolates = ref.work.errors === undefined ? this.#options.isolates : ref.work.errors === 'isolate';
    const node = new Node(this, parent, ref, isolates);
    this.liveNodes += 1;
    if (node.kind === 'job') {
      this.#setState(node, 'queued');
      this.#queue.push(node);
      this.#pumpSoon();
    } else {
      // Not at once: whoever called it may still add callbacks, or await it, before anything can fail.
      queueMicrotask(() => this.#startHandler(node));
    }
    return node;
  }

  #checkOpen(parent: Node): void {
    if (parent.run !== this || !parent.isOpen) {
      if (parent.parent === null) throw stopped();
      const how = parent.cancel ? 'was cancelled' : parent.isFailing ? 'has failed' : 'has ended';
      throw new FabricError(
        'NODE_SETTLED',
        `"${parent.name}" (${parent.id}) ${how} and takes no more work; use \`parent: commander.root\``,
      );
    }
    if (this.state !== 'running' || this.#leaving) throw stopped();
  }

  #checkLimits(parent: Node): void {
    const { maxNodes, maxDepth } = this.#options;
    const top = topOf(parent);
    const most = maxNodes ?? DEFAULT_MAX_NODES;
    const count = maxNodes === undefined ? top.started : this.#created;
    if (count >= most) throw limit(parent, `A run may have ${most} nodes`, { maxNodes: most });
    if (parent.depth >= maxDepth) throw limit(parent, `A tree may be ${maxDepth} deep`, { maxDepth });
    this.#created += 1;
    // Rounds follow one another under the commander for as long as people talk: only what a round starts is counted.
    if (top.parent) top.started += 1;
  }

  // ---- starting

  #pumpSoon(): void {
    if (this.#isPumping || this.#holder) return;
    this.#isPumping = true;
    queueMicrotask(() => {
      this.#isPumping = false;
      this.#startNextJob();
    });
  }

  #startNextJob(): void {
    if (this.#holder) return;
    let node = this.#queue.shift();
    while (node?.bodyDone) node = this.#queue.shift();
    if (!node) return;
    const job = node;
    this.#holder = job;
    const { slowJobMs } = this.#options;
    if (slowJobMs <= MAX_TIMER_MS) {
      job.workTimer = this.clock.after(slowJobMs, () => {
        this.#emit({ type: 'slow_job', ms: slowJobMs, ...job.asName });
        this.#logger.warn('a job holds the queue', { job: job.name, node: job.id, ms: slowJobMs });
      });
    }
    this.#begin(job, 'at_job_start');
  }

  #startHandler(node: Node): void {
    if (node.bodyDone || node.isSettled) return;
    const timeoutMs = node.ref?.work.timeoutMs;
    if (timeoutMs !== undefined && timeoutMs <= MAX_TIMER_MS) {
      node.workTimer = this.clock.after(timeoutMs, () => {
        const message = `"${node.name}" ran longer than ${timeoutMs} ms`;
        if (!node.isFinishing && !node.cancel) this.#fail(node, new FabricError('NODE_TIMEOUT', message));
      });
    }
    this.#begin(node, 'at_handler_start');
  }

  #begin(node: Node, stage: Stage): void {
    node.startedAt = this.clock.now();
    this.#setState(node, 'active');
    this.#runStage(node, stage, (thrown) => {
      if (node.isSettled) return;
      if (thrown) this.#bodyFailed(node, thrown.error);
      else if (node.cancel || node.isFailing) this.#bodyEnded(node);
      else this.#runBody(node);
    });
  }

  #runBody(node: Node): void {
    let value: unknown;
    try {
      value = current.run(node, node.ref!.work.body, new NodeSelf(node));
    } catch (error) {
      this.#bodyFailed(node, error);
      return;
    }
    if (!isThenable(value)) {
      this.#bodyReturned(node, value);
      return;
    }
    Promise.resolve(value).then(
      (result) => this.#bodyReturned(node, result),
      (error: unknown) => this.#bodyFailed(node, error),
    );
  }

  // ---- the body's end

  #bodyReturned(node: Node, value: unknown): void {
    if (node.isSettled) return;
    if (value instanceof HandlerCall && node.kind === 'job') {
      if (node.isOpen) {
        try {
          node.resultOf = this.add(node, value);
        } catch (error) {
          this.#bodyFailed(node, error);
          return;
        }
      }
    } else {
      node.result = value;
    }
    this.#bodyEnded(node);
  }

  #bodyFailed(node: Node, error: unknown): void {
    if (node.isSettled) return;
    if (node.cancel) this.#failedWhileCancelled(node, error);
    else this.#fail(node, error);
    this.#bodyEnded(node);
  }

  #bodyEnded(node: Node): void {
    node.bodyDone = true;
    node.workTimer?.stop();
    // The end of a job without children is told before the next job starts.
    this.#finish(node);
    this.#release(node);
  }

  #release(node: Node): void {
    if (this.#holder !== node) return;
    this.#holder = undefined;
    this.#pumpSoon();
  }

  // ---- failing

  /** A node fails: all below it is cancelled, and the error goes up until somebody takes it. */
  #fail(node: Node, error: unknown): void {
    if (node.isSettled) return;
    if (node.isFailing) {
      if (error !== node.error && !isConsequence(error)) node.suppressed.push(error);
      return;
    }
    node.isFailing = true;
    node.error = error;
    if (!node.parent) this.#leaving = true;
    // Held open until the error has been handed on, or the parent might end before it hears of it.
    node.pendingStages += 1;
    this.#tellException(node);
    const reason = new FabricError('ABORTED', `"${node.name}" (${node.id}) failed`, { cause: error });
    node.abort(reason);
    for (const child of [...node.live]) this.cancel(child, reason);
    if (node.fork) node.fork.failed(error, reason);
    else this.#propagate(node, error);
    node.pendingStages -= 1;
    this.#finish(node);
    if (!node.isSettled) this.#watch(node);
  }

  #tellException(node: Node): void {
    node.pendingStages += 1;
    this.#runStage(node, 'at_exception', (thrown) => {
      node.pendingStages -= 1;
      if (node.isSettled) return;
      if (thrown) node.suppressed.push(thrown.error);
      this.#finish(node);
    });
  }

  #propagate(node: Node, error: unknown): void {
    if (node.isAwaited) return;
    for (let parent = node.parent; parent; parent = parent.parent) {
      if (parent.isolates) return;
      // What is being cancelled stays cancelled; the error must still not be lost.
      if (parent.cancel && parent.parent) continue;
      this.#fail(parent, error);
      return;
    }
  }

  /** An error of a body that was told to stop: usually that very stop. */
  #failedWhileCancelled(node: Node, error: unknown): void {
    if (error === node.cancel?.reason || isConsequence(error)) return;
    node.error = error;
    const failing = [...node.ancestors()].find((ancestor) => ancestor.isFailing);
    if (node.fork) node.fork.also(error);
    else if (failing) failing.suppressed.push(error);
    else
      this.#logger.warn('a node failed while it was being cancelled', {
        node: node.id,
        name: node.name,
        error,
      });
  }

  // ---- cancelling

  /** Aborts a node and all below it. They settle as soon as their bodies end, at the latest after the grace time. */
  cancel(node: Node, reason: unknown): void {
    if (node.isSettled || node.cancel || node.isFailing) return;
    if (node.isFinishing) {
      node.abort(reason);
      this.#watch(node);
      return;
    }
    node.cancel = { reason };
    const hasStarted = node.startedAt !== undefined;
    node.abort(reason);
    for (const child of [...node.live]) this.cancel(child, reason);
    if (!hasStarted) node.bodyDone = true;
    this.#finish(node);
    if (!node.isSettled) this.#watch(node);
  }

  async terminate(node: Node, reason?: unknown): Promise<TerminateReport> {
    const why = reason ?? new FabricError('ABORTED', `"${node.name}" (${node.id}) was terminated`);
    if (!node.parent) {
      if (this.state === 'running') this.leave({ value: undefined }, why);
      if (!this.isInside()) await this.ended;
      return { stubborn: this.report.stubborn };
    }
    this.cancel(node, why);
    if (!this.isInside(node)) await node.settled;
    return { stubborn: [...below(node)].filter((one) => one.isStubborn).map((one) => one.asName) };
  }

  /** Ends the run: with a value, or with an error that `run()` throws. */
  leave(how: { value: unknown } | { error: unknown }, reason: unknown): void {
    if (this.state !== 'running' || this.#leaving) return;
    this.#leaving = true;
    if ('error' in how) this.failure = how;
    else this.value = how.value;
    const live = [...below(this.root)].filter((node) => node.parent && !node.isSettled);
    this.#cut = {
      cancelled: live.filter((node) => node.state !== 'queued').map((node) => node.asName),
      discarded: live.filter((node) => node.state === 'queued').map((node) => node.asName),
    };
    this.root.cancel = { reason };
    this.root.abort(reason);
    for (const child of [...this.root.live]) this.cancel(child, reason);
    this.#finish(this.root);
  }

  /** From now on the node has only the grace time left. */
  #watch(node: Node): void {
    if (!node.parent || node.graceTimer) return;
    node.graceTimer = this.clock.after(this.#options.graceMs, () => this.#force(node));
  }

  /** The grace time is over: the node is settled although its code still runs. */
  #force(node: Node): void {
    for (const child of [...node.live]) this.#force(child);
    if (node.isSettled) return;
    node.isStubborn = true;
    this.#stubborn.push(node.asName);
    this.#emit({ type: 'stubborn', ...node.asName });
    this.#logger.warn('a node did not stop in its grace time', { node: node.id, name: node.name });
    node.bodyDone = true;
    node.pendingStages = 0;
    if (!node.isFinishing) {
      node.isFinishing = true;
      this.#setState(node, node.isFailing ? 'failed' : 'cancelled');
      this.#runStage(node, lastStage(node), (thrown) => {
        if (thrown)
          this.#logger.warn('a callback failed after the grace time', { node: node.id, error: thrown.error });
      });
    }
    this.#settle(node);
    this.#release(node);
  }

  // ---- ending

  /** Ends the node if its body and all below it have ended: last callbacks, then settled. */
  #finish(node: Node): void {
    if (node.isFinishing || !node.bodyDone || node.live.size > 0 || node.pendingStages > 0) return;
    if (!node.parent) {
      this.#finishRoot();
      return;
    }
    node.isFinishing = true;
    if (node.isFailing) this.#setState(node, 'failed');
    else if (node.cancel) this.#setState(node, 'cancelled');
    else this.#setState(node, 'completed');
    this.#runStage(node, lastStage(node), (thrown) => {
      if (node.isSettled) return;
      if (thrown && !((this.#leaving || node.cancel) && isConsequence(thrown.error)))
        this.#failedAtEnd(node, thrown.error);
      else this.#settle(node);
    });
  }

  /** A last callback threw: the node fails after all. */
  #failedAtEnd(node: Node, error: unknown): void {
    if (node.state === 'failed') {
      node.suppressed.push(error);
      this.#settle(node);
      return;
    }
    this.#setState(node, 'failed');
    node.error = error;
    this.#runStage(node, 'at_exception', (thrown) => {
      if (node.isSettled) return;
      if (thrown) node.suppressed.push(thrown.error);
      this.#propagate(node, error);
      this.#settle(node);
    });
  }

  #settle(node: Node): void {
    if (node.isSettled) return;
    node.isSettled = true;
    node.endedAt = this.clock.now();
    node.graceTimer?.stop();
    node.workTimer?.stop();
    this.liveNodes -= 1;
    this.#tellState(node);
    node.announce();
    const parent = node.parent!;
    if (node.state === 'completed') {
      if (parent.resultOf === node) parent.result = node.result;
      this.#followEdges(node);
    }
    parent.live.delete(node);
    this.#finish(parent);
  }

  #followEdges(node: Node): void {
    if (this.#leaving) return;
    try {
      for (const { to, data, path } of this.#visits.follow(node)) {
        const next = this.add(this.root, to);
        next.data = data;
        next.path = path;
      }
    } catch (error) {
      // A bound must hold under `isolate` as well.
      this.#fail(this.root, error);
    }
  }

  #finishRoot(): void {
    const { root } = this;
    if (this.state !== 'running' || !(this.#leaving || this.#autoExit)) return;
    this.state = 'ending';
    this.#leaving = true;
    root.isFinishing = true;
    if (root.isFailing) this.failure ??= { error: root.error };
    root.result = this.value;
    this.#setState(root, root.isFailing ? 'failed' : this.failure ? 'cancelled' : 'completed');
    this.#runEndCallbacks(0);
  }

  #runEndCallbacks(from: number): void {
    const callback = this.#endCallbacks[from];
    if (!callback) {
      this.#end();
      return;
    }
    const { node, fn } = callback;
    const next = (): void => this.#runEndCallbacks(from + 1);
    const failed = (error: unknown): void => {
      if (this.failure) this.root.suppressed.push(error);
      else this.failure = { error };
      next();
    };
    this.#call(node, 'at_commander_end', fn, next, failed);
  }

  #end(): void {
    const { root } = this;
    if (this.failure && root.state === 'completed') {
      root.error = this.failure.error;
      this.#setState(root, 'failed');
    }
    root.isSettled = true;
    root.endedAt = this.clock.now();
    this.state = 'ended';
    this.#queue = [];
    this.#tellState(root);
    root.announce();
    this.#resolveEnded();
  }

  // ---- callbacks

  /** Runs the callbacks of a stage one after the other; in the same breath if none of them takes time. */
  #runStage(node: Node, stage: Stage, then: (thrown?: { error: unknown }) => void): void {
    const list = node.callbacks(stage);
    if (!list) {
      then();
      return;
    }
    const step = (at: number): void => {
      const fn = list[at];
      if (!fn) {
        then();
        return;
      }
      const next = (): void => step(at + 1);
      this.#call(node, stage, fn, next, (error) => then({ error }));
    };
    step(0);
  }

  #call(
    node: Node,
    stage: Stage,
    fn: StageCallback,
    next: () => void,
    failed: (error: unknown) => void,
  ): void {
    const event: StageEvent = { stage, node, commander: this.commander };
    if (node.state === 'completed') event.result = node.result;
    if (node.isFailing || node.state === 'failed') event.error = node.error;
    if (node.cancel) event.reason = node.cancel.reason;
    let done: unknown;
    try {
      done = current.run(node, fn, event);
    } catch (error) {
      failed(error);
      return;
    }
    if (isThenable(done)) Promise.resolve(done).then(next, failed);
    else next();
  }

  /** Final states are told when the node settles: until then a callback may still fail it. */
  #setState(node: Node, state: Node['state']): void {
    node.state = state;
    if (!node.isFinishing) this.#tellState(node);
  }

  #tellState(node: Node): void {
    this.#emit({ type: 'state', state: node.state, ...node.asName });
  }
}

const stopped = (): FabricError => new FabricError('COMMANDER_STOPPED', 'The commander is not running');

function limit(parent: Node, message: string, details: Record<string, unknown>): FabricError {
  const names = [parent, ...parent.ancestors()].reverse().map((node) => node.name);
  const path = names.length > MAX_PATH ? ['…', ...names.slice(-MAX_PATH)] : names;
  return new FabricError('WORKFLOW_LIMIT', `${message}: ${path.join(' → ')}`, {
    details: { ...details, path },
  });
}

/** The root-level node that `node` stands under; the commander for itself. */
function topOf(node: Node): Node {
  let top = node;
  while (top.parent?.parent) top = top.parent;
  return top;
}

/** A node and all below it that is still known. */
function* below(node: Node): Generator<Node> {
  yield node;
  for (const child of node.children) yield* below(child);
}

function lastStage(node: Node): Stage {
  if (node.state === 'cancelled') return 'at_terminate';
  return node.kind === 'job' ? 'at_job_end' : 'at_handler_end';
}

/** Errors that only say that something was told to stop. */
const isConsequence = (error: unknown): boolean =>
  (error as { name?: unknown } | null | undefined)?.name === 'AbortError' ||
  isFabricError(error, 'ABORTED') ||
  isFabricError(error, 'NODE_SETTLED') ||
  isFabricError(error, 'COMMANDER_STOPPED');
