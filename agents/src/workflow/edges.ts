// Edges between jobs and handlers: one runs when another has completed. Edges belong to the declared work, so a workflow is wired
// once and runs many times. The traversal counts belong to a run.
import { FabricError } from '@fame-fabric/shared';
import type { WorkRef } from './task-node.ts';

const DEFAULT_MAX_VISITS = 100;
/** Longest path that a node keeps, so that a cycle does not grow it. */
const MAX_PATH = 64;

export interface EdgeOptions {
  /** Becomes the `data` of the node that the edge leads to. @default the data of the node it comes from */
  data?: unknown;
  /** Limit of traversals in one run. @default 100 */
  maxVisits?: number | undefined;
}

/** One target of an edge. */
interface EdgeArm {
  readonly to: WorkRef;
  /** Condition of the arm: a result of the node, as a string. */
  readonly when: 'always' | 'otherwise' | { readonly result: string };
  readonly isJoin: boolean;
  readonly options: EdgeOptions;
}

interface Edge {
  /** Returns the arm for a result, or undefined if the path ends there. */
  pick(result: unknown): EdgeArm | undefined;
  readonly arms: readonly EdgeArm[];
}

const edgesFrom = new WeakMap<WorkRef, Edge[]>();
/** Arms that a node joins. */
const joinsTo = new WeakMap<WorkRef, EdgeArm[]>();

function add(from: WorkRef, edge: Edge): void {
  const edges = edgesFrom.get(from);
  if (edges) edges.push(edge);
  else edgesFrom.set(from, [edge]);
}

/**
 * Runs `to` each time `from` has completed, as a node under the commander. Several edges from one node fork. With
 * `join: 'all'`, `to` runs once after all such edges that lead to it.
 */
export function addEdge(
  from: WorkRef,
  to: WorkRef,
  options: EdgeOptions & { join?: 'all' | undefined } = {},
): void {
  const { join, ...rest } = options;
  const arm: EdgeArm = { to, when: 'always', isJoin: join === 'all', options: rest };
  if (arm.isJoin) joinsTo.set(to, [...(joinsTo.get(to) ?? []), arm]);
  add(from, { arms: [arm], pick: () => arm });
}

/** Runs the node that `map` has for the result of `from`, as a string. For other results it runs `otherwise`, if given. */
export function addConditionalEdge(
  from: WorkRef,
  map: Readonly<Record<string, WorkRef>>,
  options: EdgeOptions & { otherwise?: WorkRef | undefined } = {},
): void {
  const { otherwise, ...rest } = options;
  const arms = new Map<string, EdgeArm>();
  for (const [result, to] of Object.entries(map))
    arms.set(result, { to, when: { result }, isJoin: false, options: rest });
  const other: EdgeArm | undefined = otherwise && {
    to: otherwise,
    when: 'otherwise',
    isJoin: false,
    options: rest,
  };
  add(from, {
    arms: [...arms.values(), ...(other ? [other] : [])],
    pick: (result) => arms.get(String(result)) ?? other,
  });
}

/** Returns the arms of all edges of a node. */
export const armsOf = (from: WorkRef): EdgeArm[] => (edgesFrom.get(from) ?? []).flatMap((edge) => edge.arms);

/** A node that an edge starts. */
interface NextNode {
  to: WorkRef;
  data: unknown;
  path: readonly string[];
}

/** Traversal counts of one run's edges, and the joins that wait for more arms. */
export class EdgeVisits {
  readonly #visits = new Map<EdgeArm, number>();
  readonly #waiting = new Map<EdgeArm, number>();

  /**
   * Returns the nodes that run after this one has completed.
   * @throws {WORKFLOW_LIMIT} when an edge exceeds `maxVisits`; `details` hold the path and the limit
   */
  follow(from: { ref: WorkRef | null; result: unknown; data: unknown; path: readonly string[] }): NextNode[] {
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
        const shownPath = path.join(' → ');
        throw new FabricError(
          'WORKFLOW_LIMIT',
          `An edge was followed more than ${maxVisits} times: ${shownPath}`,
          { details: { path, maxVisits } },
        );
      }
      this.#visits.set(arm, visits);
      if (arm.isJoin && !this.#joined(arm)) continue;
      next.push({ to, data: options.data === undefined ? from.data : options.data, path });
    }
    return next;
  }

  /** True if this arm was the last that its join waited for. */
  #joined(arm: EdgeArm): boolean {
    this.#waiting.set(arm, (this.#waiting.get(arm) ?? 0) + 1);
    const arms = joinsTo.get(arm.to) ?? [];
    if (arms.some((one) => !this.#waiting.get(one))) return false;
    for (const one of arms) this.#waiting.set(one, this.#waiting.get(one)! - 1);
    return true;
  }
}
