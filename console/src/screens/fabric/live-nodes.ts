// The nodes as the graph shows them: those of the list, those that left a moment ago, and the last minute of each.
import type { NodeView } from '../../fabric/nodes.ts';
import { GoneNodes } from './gone-nodes.ts';
import { NodeHistory } from './node-history.ts';

/** Silence of the stream after which a sample is taken without one of its lines: no line means no traffic. */
const SILENCE_MS = 1_500;
/** Least time between two samples. A shorter one makes rates jump. */
const LEAST_MS = 700;

export class LiveNodes {
  readonly history = new NodeHistory();
  #gone: readonly NodeView[] = [];
  readonly #goneNodes = new GoneNodes<NodeView>();
  /** Time at which a state of a node arrived. An unchanged node is the same object in the next list. */
  readonly #arrivedAt = new WeakMap<NodeView, number>();
  #nodes: ReadonlyMap<string, NodeView> = new Map();
  #sampledAt = Number.NEGATIVE_INFINITY;

  /** Takes a new list. `now` is monotonic, in ms. */
  update(nodes: ReadonlyMap<string, NodeView>, now: number): void {
    if (nodes !== this.#nodes) {
      this.#gone = this.#goneNodes
        .update(nodes, now)
        .map((node) => ({ ...node, state: 'gone', openCalls: 0, serving: 0 }));
      for (const node of nodes.values()) if (!this.#arrivedAt.has(node)) this.#arrivedAt.set(node, now);
    }
    this.#nodes = nodes;
    if (now - this.#sampledAt >= LEAST_MS) this.#sample(now);
  }

  /** Call it each second. */
  tick(now: number): void {
    this.#gone = this.#gone.length === 0 ? this.#gone : this.#stillGone(now);
    if (now - this.#sampledAt >= SILENCE_MS) this.#sample(now);
  }

  /** Nodes that left during the last seconds. Their state is `gone`. */
  get gone(): readonly NodeView[] {
    return this.#gone;
  }

  /** Time since this state of the node arrived, in ms. */
  ageOf(node: NodeView, now: number): number {
    return now - (this.#arrivedAt.get(node) ?? now);
  }

  #stillGone(now: number): readonly NodeView[] {
    const paths = new Set(this.#goneNodes.update(this.#nodes, now).map(({ path }) => path));
    return this.#gone.filter(({ path }) => paths.has(path));
  }

  #sample(now: number): void {
    this.history.sample(this.#nodes.values(), now);
    this.#sampledAt = now;
  }
}
