// Edges between jobs and handlers: what runs when another has completed. They belong to the calls themselves, so a workflow is
// wired once and can run many times; how often each edge was followed belongs to the run.
import { FabricError } from '@fame-fabric/shared';
import type { NodeRef } from './define.ts';

const DEFAULT_MAX_VISITS = 100;
/** How much of the way a node remembers, so that a long ring does not grow. */
const MAX_PATH = 64;

export interface EdgeOptions {
  /** Becomes the `data` of the node that the edge leads to. @default the data of the node it comes from */
  data?: unknown;
  /** How often the edge may be followed in one run. @default 100 */
  maxVisits?: number;
}

/** One way out of a node. */
export interface EdgeArm {
  readonly to: NodeRef;
  /** The result that chooses it; null for an edge without a condition, undefined for the rest of the results. */
  readonly label: string | null | undefined;
  readonly isJoin: boolean;
  readonly options: EdgeOptions;
}

interface Edge {
  /** The arm for a result; undefined ends the way there. */
  pick(result: unknown): EdgeArm | undefined;
  readonly arms: readonly EdgeArm[];
}

const edgesFrom = new WeakMap<NodeRef, Edge[]>();
/** The arms that a node joins. */
const joinsTo = new WeakMap<NodeRef, EdgeArm[]>();

function add(from: NodeRef, edge: Edge): void {
  const edges = edgesFrom.get(from);
  if (edges) edges.push(edge);
  else edgesFrom.set(from, [edge]);
}

/**
 * Runs `to` each time `from` has completed, as a node under the commander. Several edges from one node fork. With
 * `join: 'all'`, `to` runs once after all such edges that lead to it.
 */
export function addEdge(from: NodeRef, to: NodeRef, options: EdgeOptions & { join?: 'all' } = {}): void {
  const { join, ...rest } = options;
  const arm: EdgeArm = { to, label: null, isJoin: join === 'all', options: rest };
  if (arm.isJoin) joinsTo.set(to, [...(joinsTo.get(to) ?? []), arm]);
  add(from, { arms: [arm], pick: () => arm });
}

/** Runs the node that the result of `from`, as a text, stands for; `otherwise` for all other results, else nothing. */
export function addConditionalEdge(
  from: NodeRef,
  map: Readonly<Record<string, NodeRef>>,
  options: EdgeOptions & { otherwise?: NodeRef } = {},
): void {
  const { otherwise, ...rest } = options;
  const arms = new Map<string, EdgeArm>();
  for (const [label, to] of Object.entries(map)) arms.set(label, { to, label, isJoin: false, options: rest });
  const other: EdgeArm | undefined = otherwise && {
    to: otherwise,
    label: undefined,
    isJoin: false,
    options: rest,
  };
  add(from, {
    arms: [...arms.values(), ...(other ? [other] : [])],
    pick: (result) => arms.get(String(result)) ?? other,
  });
}

/** All ways out of a node. */
export const armsOf = (from: NodeRef): EdgeArm[] => (edgesFrom.get(from) ?? []).flatMap((edge) => edge.arms);

/** A node that is to run because of an edge. */
export interface NextNode {
  to: NodeRef;
  data: unknown;
  path: readonly string[];
}

/** How often the edges of one run were followed, and which joins wait for more. */
export class EdgeVisits {
  readonly #visits = new Map<EdgeArm, number>();
  readonly #waiting = new Map<EdgeArm, number>();

  /**
   * What runs after a node has completed.
   * @throws {WORKFLOW_LIMIT} when an edge was followed too often; `details` hold the path and the number
   */
  follow(from: { ref: NodeRef | null; result: unknown; data: unknown; path: readonly string[] }): NextNode[] {
    const edges = from.ref && edgesFrom.get(from.ref);
    if (!edges) return [];
    const next: NextNode[] = [];
    for (const edge of edges) {
      const arm = edge.pick(from.result);
      if (!arm) continue;
      const { to, options } = arm;
      const maxVisits = options.maxVisits ?? DEFAULT_MAX_VISITS;
      const visits = (this.#visits.get(arm) ?? 0) + 1;
      const path = [...from.path, to.name].slice(-MAX_PATH);
      if (visits > maxVisits) {
        const way = path.join(' → ');
        throw new FabricError('WORKFLOW_LIMIT', `An edge was followed more than ${maxVisits} times: ${way}`, {
          details: { path, maxVisits },
        });
      }
      this.#visits.set(arm, visits);
      if (arm.isJoin && !this.#joined(arm)) continue;
      next.push({ to, data: options.data === undefined ? from.data : options.data, path });
    }
    return next;
  }

  /** Whether this arm was the last that its join waited for. */
  #joined(arm: EdgeArm): boolean {
    this.#waiting.set(arm, (this.#waiting.get(arm) ?? 0) + 1);
    const arms = joinsTo.get(arm.to) ?? [];
    if (arms.some((one) => !this.#waiting.get(one))) return false;
    for (const one of arms) this.#waiting.set(one, this.#waiting.get(one)! - 1);
    return true;
  }
}
