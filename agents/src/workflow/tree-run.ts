// THE PATH of a node: it is added and started, its body runs, its children end, its last callbacks run, it settles, and its parent
// finishes in turn. One object of this class is one run of a commander. Transitions are synchronous calls from the leaves up,
// without polling; only bodies, callbacks and grace times take time. `commander.ts` is the public interface, and `tree-node.ts`
// has the state of a node.
import { type Clock, FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { isThenable, LONGEST_TIMER_MS, timeText } from '@fame-fabric/shared/internal';
import { EdgeVisits } from './edges.ts';
import { JobQueue } from './job-queue.ts';
import { isInside, runCallback, runInside, runStage } from './stages.ts';
import {
  type ExitReport,
  HandlerCall,
  type NodeEvent,
  type NodeName,
  type Stage,
  type StageCallback,
  type TerminateReport,
  type TreeCommander,
  type WorkRef,
} from './task-node.ts';
import { type NodeRun, TreeNode } from './tree-node.ts';
import { TreeSelf } from './tree-self.ts';

export interface RunOptions {
  readonly isolates: boolean;
  readonly graceMs: number;
  /** Node limit of the run. Undefined limits each node under the commander to DEFAULT_MAX_NODES nodes below it. */
  readonly maxNodes: number | undefined;
  readonly maxDepth: number;
  readonly slowJobMs: number;
}
const DEFAULT_MAX_NODES = 10_000;

/** Maximum names in the path of an error. */
const MAX_PATH = 32;

interface EndCallback {
  readonly node: TreeNode;
  readonly fn: StageCallback;
}

export class TreeRun implements NodeRun {
  readonly root: TreeNode;
  readonly commander: TreeCommander;
  readonly clock: Clock;
  /** Resolves when the run has ended, with `failure` or with `value`. */
  readonly ended: Promise<void>;
  failure: { readonly error: unknown } | undefined;
  value: unknown;
  /** Nodes that have not settled, without the commander itself. */
  liveNodes = 0;
  /** `stopping`: no more work is accepted. `ending`: every node has ended, and the last callbacks are running. */
  state: 'idle' | 'running' | 'stopping' | 'ending' | 'ended' = 'idle';

  readonly #logger: Logger;
  readonly #options: RunOptions;
  readonly #emit: (event: NodeEvent) => void;
  readonly #resolveEnded: () => void;
  readonly #endCallbacks: EndCallback[] = [];
  readonly #visits = new EdgeVisits();
  readonly #unresponsive: NodeName[] = [];
  readonly #jobs = new JobQueue((job) => this.#startJob(job));
  #created = 0;
  #autoExit = false;
  #endedEarly: { cancelled: readonly NodeName[]; discarded: readonly NodeName[] } = {
    cancelled: [],
    discarded: [],
  };

  constructor(
    commander: TreeCommander,
    deps: { clock: Clock; logger: Logger; emit: (event: NodeEvent) => void },
    options: RunOptions,
    /** The previous run. The callbacks of its commander node apply to every run. */
    previous?: TreeRun,
  ) {
    this.commander = commander;
    this.clock = deps.clock;
    this.#logger = deps.logger;
    this.#emit = deps.emit;
    this.#options = options;
    this.root = new TreeNode(this, null, null, options.isolates);
    if (previous) {
      this.root.adoptCallbacks(previous.root);
      const kept = previous.#endCallbacks.filter(({ node }) => node === previous.root);
      for (const { fn } of kept) this.onEnd(this.root, fn);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
  }

  get report(): ExitReport {
    return { ...this.#endedEarly, unresponsive: [...this.#unresponsive] };
  }

  get isEmpty(): boolean {
    return this.root.live.size === 0;
  }

  onEnd(node: TreeNode, fn: StageCallback): void {
    this.#endCallbacks.push({ node, fn });
  }

  start(refs: readonly WorkRef[], autoExit: boolean): void {
    this.state = 'running';
    this.#autoExit = autoExit;
    this.root.startedAt = this.clock.monotonic();
    this.#setState(this.root, 'active');
    this.root.bodyDone = true;
    try {
      for (const ref of refs) this.add(this.root, ref);
    } catch (error) {
      this.#fail(this.root, error);
    }
    this.#finish(this.root);
  }

  // ---- adding

  add(parent: TreeNode, ref: WorkRef): TreeNode {
    this.#checkOpen(parent);
    this.#checkLimits(parent);
    const isolates = ref.work.errors === undefined ? this.#options.isolates : ref.work.errors === 'isolate';
    const node = new TreeNode(this, parent, ref, isolates);
    this.liveNodes += 1;
    if (node.kind === 'job') {
      this.#setState(node, 'queued');
      this.#jobs.add(node);
    } else {
      // Start later: the caller may still add callbacks, or await the handle, before the node can fail.
      queueMicrotask(() => this.#startHandler(node));
    }
    return node;
  }

  #checkOpen(parent: TreeNode): void {
    if (parent.run !== this || !parent.isOpen) {
      if (parent.parent === null) throw stopped();
      const ending = parent.cancel ? 'was cancelled' : parent.isFailing ? 'has failed' : 'has ended';
      throw new FabricError(
        'NODE_SETTLED',
        `"${parent.name}" (${parent.id}) ${ending} and accepts no more work; use \`parent: commander.root\``,
      );
    }
    if (this.state !== 'running') throw stopped();
  }

  #checkLimits(parent: TreeNode): void {
    const { maxNodes, maxDepth } = this.#options;
    const { top } = parent;
    const nodeLimit = maxNodes ?? DEFAULT_MAX_NODES;
    const count = maxNodes === undefined ? top.started : this.#created;
    if (count >= nodeLimit)
      throw limit(parent, `Node limit reached (${nodeLimit}); raise maxNodes`, { maxNodes: nodeLimit });
    if (parent.depth >= maxDepth)
      throw limit(parent, `Depth limit reached (${maxDepth}); raise maxDepth`, { maxDepth });
    this.#created += 1;
    // A commander can run any number of rounds one after the other, so each round is counted on its own.
    if (top.parent) top.started += 1;
  }

  // ---- starting

  #startJob(job: TreeNode): void {
    const { slowJobMs } = this.#options;
    // A longer time than a timer can wait counts as none.
    if (slowJobMs <= LONGEST_TIMER_MS) {
      job.workTimer = this.clock.after(slowJobMs, () => {
        this.#emit({ type: 'slow_job', ms: slowJobMs, ...job.asName });
        this.#logger.warn('a job holds the queue', { job: job.name, node: job.id, ms: slowJobMs });
      });
    }
    this.#begin(job, 'at_job_start');
  }

  #startHandler(node: TreeNode): void {
    if (node.bodyDone || node.isSettled) return;
    const timeoutMs = node.ref?.work.timeoutMs;
    if (timeoutMs !== undefined && timeoutMs <= LONGEST_TIMER_MS) {
      node.workTimer = this.clock.after(timeoutMs, () => {
        const message = `"${node.name}" ran longer than ${timeText(timeoutMs)}`;
        if (!node.isClosed && !node.cancel) this.#fail(node, new FabricError('NODE_TIMEOUT', message));
      });
    }
    this.#begin(node, 'at_handler_start');
  }

  #begin(node: TreeNode, stage: Stage): void {
    node.startedAt = this.clock.monotonic();
    this.#setState(node, 'active');
    runStage(node, stage, (thrown) => {
      if (node.isSettled) return;
      if (thrown) this.#bodyFailed(node, thrown.error);
      else if (node.cancel || node.isFailing) this.#bodyEnded(node);
      else this.#runBody(node);
    });
  }

  #runBody(node: TreeNode): void {
    let value: unknown;
    try {
      value = runInside(node, node.ref!.work.body, new TreeSelf(node));
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

  #bodyReturned(node: TreeNode, value: unknown): void {
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

  #bodyFailed(node: TreeNode, error: unknown): void {
    if (node.isSettled) return;
    if (node.cancel) this.#failedWhileCancelled(node, error);
    else this.#fail(node, error);
    this.#bodyEnded(node);
  }

  #bodyEnded(node: TreeNode): void {
    node.bodyDone = true;
    node.workTimer?.stop();
    // Callbacks at the end of a job without children run before the next job starts.
    this.#finish(node);
    this.#jobs.release(node);
  }

  // ---- failing

  /** Fails a node: cancels all below it and passes the error up until an ancestor isolates it or a caller awaits it. */
  #fail(node: TreeNode, error: unknown): void {
    if (node.isSettled) return;
    if (node.isFailing) {
      if (error !== node.error && !isConsequence(error)) node.suppressed.push(error);
      return;
    }
    node.isFailing = true;
    node.error = error;
    if (!node.parent && this.state === 'running') this.state = 'stopping';
    // Keep the node open until the error is passed on, or its parent might end first.
    node.pendingStages += 1;
    this.#runExceptionStage(node);
    const reason = new FabricError('ABORTED', `"${node.name}" (${node.id}) failed`, { cause: error });
    node.abort(reason);
    for (const child of [...node.live]) this.cancel(child, reason);
    if (node.fork) node.fork.branchFailed(error, reason);
    else this.#propagate(node, error);
    node.pendingStages -= 1;
    this.#finish(node);
    if (!node.isSettled) this.#startGraceTime(node);
  }

  #runExceptionStage(node: TreeNode): void {
    node.pendingStages += 1;
    runStage(node, 'at_exception', (thrown) => {
      node.pendingStages -= 1;
      if (node.isSettled) return;
      if (thrown) node.suppressed.push(thrown.error);
      this.#finish(node);
    });
  }

  #propagate(node: TreeNode, error: unknown): void {
    if (node.isAwaited) return;
    for (let parent = node.parent; parent; parent = parent.parent) {
      if (parent.isolates) return;
      // A cancelled ancestor stays cancelled, so pass the error on to the next one.
      if (parent.cancel && parent.parent) continue;
      this.#fail(parent, error);
      return;
    }
  }

  /** Handles an error of a cancelled body, which usually is the cancellation itself. */
  #failedWhileCancelled(node: TreeNode, error: unknown): void {
    if (error === node.cancel?.reason || isConsequence(error)) return;
    node.error = error;
    const failing = [...node.ancestors()].find((ancestor) => ancestor.isFailing);
    if (node.fork) node.fork.suppress(error);
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
  cancel(node: TreeNode, reason: unknown): void {
    if (node.isSettled || node.cancel || node.isFailing) return;
    if (node.isClosed) {
      node.abort(reason);
      this.#startGraceTime(node);
      return;
    }
    node.cancel = { reason };
    const hasStarted = node.startedAt !== undefined;
    node.abort(reason);
    for (const child of [...node.live]) this.cancel(child, reason);
    if (!hasStarted) node.bodyDone = true;
    this.#finish(node);
    if (!node.isSettled) this.#startGraceTime(node);
  }

  async terminate(node: TreeNode, reason?: unknown): Promise<TerminateReport> {
    const why = reason ?? new FabricError('ABORTED', `"${node.name}" (${node.id}) was terminated`);
    if (!node.parent) {
      if (this.state === 'running') this.requestEnd({ value: undefined }, why);
      if (!isInside(node)) await this.ended;
      return { unresponsive: this.report.unresponsive };
    }
    this.cancel(node, why);
    if (!isInside(node)) await node.settled;
    const unresponsive = [...node.subtree()].filter((one) => one.isUnresponsive);
    return { unresponsive: unresponsive.map((one) => one.asName) };
  }

  /** Ends the run: with a value, or with an error that `run()` throws. */
  requestEnd(outcome: { value: unknown } | { error: unknown }, reason: unknown): void {
    if (this.state !== 'running') return;
    this.state = 'stopping';
    if ('error' in outcome) this.failure = outcome;
    else this.value = outcome.value;
    const live = [...this.root.subtree()].filter((node) => node.parent && !node.isSettled);
    this.#endedEarly = {
      cancelled: live.filter((node) => node.state !== 'queued').map((node) => node.asName),
      discarded: live.filter((node) => node.state === 'queued').map((node) => node.asName),
    };
    this.root.cancel = { reason };
    this.root.abort(reason);
    for (const child of [...this.root.live]) this.cancel(child, reason);
    this.#finish(this.root);
  }

  /** Gives the node the grace time to end. */
  #startGraceTime(node: TreeNode): void {
    if (!node.parent || node.graceTimer) return;
    node.graceTimer = this.clock.after(this.#options.graceMs, () => this.#force(node));
  }

  /** Settles the node after its grace time, although its code is still running. */
  #force(node: TreeNode): void {
    for (const child of [...node.live]) this.#force(child);
    if (node.isSettled) return;
    node.isUnresponsive = true;
    this.#unresponsive.push(node.asName);
    this.#emit({ type: 'unresponsive', ...node.asName });
    this.#logger.warn('a node did not stop in its grace time', { node: node.id, name: node.name });
    node.bodyDone = true;
    node.pendingStages = 0;
    if (!node.isClosed) {
      node.phase = 'finishing';
      this.#setState(node, node.isFailing ? 'failed' : 'cancelled');
      runStage(node, lastStage(node), (thrown) => {
        if (thrown)
          this.#logger.warn('a callback failed after the grace time', { node: node.id, error: thrown.error });
      });
    }
    this.#settle(node);
    this.#jobs.release(node);
  }

  // ---- ending

  /** Ends the node if its body and all below it have ended: runs the last callbacks, then settles it. */
  #finish(node: TreeNode): void {
    if (node.isClosed || !node.bodyDone || node.live.size > 0 || node.pendingStages > 0) return;
    if (!node.parent) {
      this.#finishRoot();
      return;
    }
    node.phase = 'finishing';
    if (node.isFailing) this.#setState(node, 'failed');
    else if (node.cancel) this.#setState(node, 'cancelled');
    else this.#setState(node, 'completed');
    runStage(node, lastStage(node), (thrown) => {
      if (node.isSettled) return;
      if (thrown && !((this.state !== 'running' || node.cancel) && isConsequence(thrown.error)))
        this.#failedAtEnd(node, thrown.error);
      else this.#settle(node);
    });
  }

  /** Fails a node whose last callback threw. */
  #failedAtEnd(node: TreeNode, error: unknown): void {
    if (node.state === 'failed') {
      node.suppressed.push(error);
      this.#settle(node);
      return;
    }
    this.#setState(node, 'failed');
    node.error = error;
    runStage(node, 'at_exception', (thrown) => {
      if (node.isSettled) return;
      if (thrown) node.suppressed.push(thrown.error);
      this.#propagate(node, error);
      this.#settle(node);
    });
  }

  #settle(node: TreeNode): void {
    if (node.isSettled) return;
    node.phase = 'settled';
    node.endedAt = this.clock.monotonic();
    node.graceTimer?.stop();
    node.workTimer?.stop();
    this.liveNodes -= 1;
    this.#emitState(node);
    node.resolveSettled();
    const parent = node.parent!;
    if (node.state === 'completed') {
      if (parent.resultOf === node) parent.result = node.result;
      this.#followEdges(node);
    }
    parent.live.delete(node);
    this.#finish(parent);
  }

  #followEdges(node: TreeNode): void {
    if (this.state !== 'running') return;
    try {
      for (const { to, data, path } of this.#visits.follow(node)) {
        const next = this.add(this.root, to);
        next.data = data;
        next.path = path;
      }
    } catch (error) {
      // A limit applies under `isolate` too.
      this.#fail(this.root, error);
    }
  }

  #finishRoot(): void {
    const { root } = this;
    if (this.state !== 'stopping' && !(this.state === 'running' && this.#autoExit)) return;
    this.state = 'ending';
    root.phase = 'finishing';
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
    runCallback(node, 'at_commander_end', fn, next, failed);
  }

  #end(): void {
    const { root } = this;
    if (this.failure && root.state === 'completed') {
      root.error = this.failure.error;
      this.#setState(root, 'failed');
    }
    root.phase = 'settled';
    root.endedAt = this.clock.monotonic();
    this.state = 'ended';
    this.#jobs.clear();
    this.#emitState(root);
    root.resolveSettled();
    this.#resolveEnded();
  }

  // ---- states

  /** A final state is emitted when the node settles, since until then a callback may still fail it. */
  #setState(node: TreeNode, state: TreeNode['state']): void {
    node.state = state;
    if (!node.isClosed) this.#emitState(node);
  }

  #emitState(node: TreeNode): void {
    this.#emit({ type: 'state', state: node.state, ...node.asName });
  }
}

const stopped = (): FabricError =>
  new FabricError('COMMANDER_STOPPED', 'The commander is not running; call run() first');

function limit(parent: TreeNode, message: string, details: Record<string, unknown>): FabricError {
  const names = [parent, ...parent.ancestors()].reverse().map((node) => node.name);
  const path = names.length > MAX_PATH ? ['…', ...names.slice(-MAX_PATH)] : names;
  return new FabricError('WORKFLOW_LIMIT', `${message}: ${path.join(' → ')}`, {
    details: { ...details, path },
  });
}

function lastStage(node: TreeNode): Stage {
  if (node.state === 'cancelled') return 'at_terminate';
  return node.kind === 'job' ? 'at_job_end' : 'at_handler_end';
}

/** True for errors that follow from a cancellation. */
const isConsequence = (error: unknown): boolean =>
  (error as { name?: unknown } | null | undefined)?.name === 'AbortError' ||
  isFabricError(error, 'ABORTED') ||
  isFabricError(error, 'NODE_SETTLED') ||
  isFabricError(error, 'COMMANDER_STOPPED');
