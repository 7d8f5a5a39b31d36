// Nodes that have left. The graph shows them for some seconds, so that a person sees which node went away.

/** Time for which the graph shows a node that has left, in ms. */
export const GONE_MS = 15_000;
/** Nodes that are shown at most after many left at once. */
const MAX_GONE = 20;

export class GoneNodes<Node extends { readonly path: string }> {
  readonly #gone = new Map<string, { node: Node; at: number }>();
  #last: ReadonlyMap<string, Node> = new Map();

  /** Compares the attached nodes, by path, with those of the last update; returns the nodes that have left. `now` is in ms. */
  update(nodes: ReadonlyMap<string, Node>, now: number): Node[] {
    for (const [path, { at }] of this.#gone)
      if (now - at > GONE_MS || nodes.has(path)) this.#gone.delete(path);
    for (const [path, node] of this.#last) {
      if (this.#gone.size >= MAX_GONE) break;
      if (!nodes.has(path)) this.#gone.set(path, { node, at: now });
    }
    this.#last = nodes;
    return [...this.#gone.values()].map(({ node }) => node);
  }
}
