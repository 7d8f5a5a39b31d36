// The cards of the graph: nodes, groups of nodes, and sentinels.
import type { MemberView, NodeView } from '../../fabric/nodes.ts';
import { type Group, type GroupBy, groupNodes } from './grouping.ts';
import type { NodeHistory } from './node-history.ts';
import { SHOWN_STATES, type ShownState, shownState } from './node-state.ts';

export interface NodeCardModel {
  readonly kind: 'node';
  readonly id: string;
  readonly node: NodeView;
  readonly messagesIn: number;
  readonly messagesOut: number;
}

interface GroupCardModel {
  readonly kind: 'group';
  readonly id: string;
  readonly group: Group<NodeView>;
  /** Nodes in each state that occurs, in the order of the legend. */
  readonly states: readonly (readonly [state: ShownState, count: number])[];
  readonly messagesIn: number;
  readonly messagesOut: number;
}

/** A parent or peer that the sentinel dials and that is not attached. */
export interface UplinkCardModel {
  readonly kind: 'uplink';
  /** Its URL. */
  readonly id: string;
  /** `parent` or `peer`. */
  readonly role: string;
  readonly state: string;
  readonly reason: string | undefined;
  readonly messagesIn: number;
  readonly messagesOut: number;
}

/** Another sentinel of the cluster. */
export interface SentinelCardModel {
  readonly kind: 'sentinel';
  /** Its path. */
  readonly id: string;
  readonly member: MemberView;
  /** `silent` if it did not answer the last request for its nodes. */
  readonly state: 'linked' | 'silent' | 'lost';
  /** Number of its nodes. */
  readonly nodes: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
}

export type CardModel = NodeCardModel | GroupCardModel | UplinkCardModel | SentinelCardModel;

/** Cards of nodes, in the order of their names. */
export const nodeCards = (nodes: readonly NodeView[], history: NodeHistory): CardModel[] =>
  [...nodes].sort(byNameThenPath).map((node) => nodeCard(node, history));

/** Cards of groups of nodes, at most `max`. `prefix` makes their ids unique if other sentinels have groups, too. */
export const groupCards = (
  nodes: readonly NodeView[],
  { by, max, prefix }: { by: GroupBy; max: number; prefix: string },
  history: NodeHistory,
): CardModel[] => groupNodes(nodes, by, max).map((group) => groupCard(group, prefix, history));

export function nodeCard(node: NodeView, history: NodeHistory): NodeCardModel {
  const { messagesIn, messagesOut } = history.rateOf(node.path);
  return { kind: 'node', id: node.path, node, messagesIn, messagesOut };
}

function groupCard(group: Group<NodeView>, prefix: string, history: NodeHistory): GroupCardModel {
  let messagesIn = 0;
  let messagesOut = 0;
  const counts = new Map<ShownState, number>();
  for (const node of group.nodes) {
    const state = shownState(node);
    counts.set(state, (counts.get(state) ?? 0) + 1);
    const rate = history.rateOf(node.path);
    messagesIn += rate.messagesIn;
    messagesOut += rate.messagesOut;
  }
  const states = SHOWN_STATES.flatMap((state) => {
    const count = counts.get(state);
    return count === undefined ? [] : [[state, count] as const];
  });
  return { kind: 'group', id: prefix + group.key, group, states, messagesIn, messagesOut };
}

/** Name of a node: its first service address, or the last segment of its path. */
export function nodeName({ addresses, path }: Pick<NodeView, 'addresses' | 'path'>): string {
  const address = addresses.find((one) => !one.startsWith('__'));
  return address ?? path.slice(path.lastIndexOf('/') + 1);
}

/** Nodes with an address first. The order does not depend on traffic, so that no card moves while a person reads it. */
function byNameThenPath(a: NodeView, b: NodeView): number {
  const isServingA = a.addresses.length > 0;
  if (isServingA !== b.addresses.length > 0) return isServingA ? -1 : 1;
  const nameA = nodeName(a);
  const nameB = nodeName(b);
  if (nameA !== nameB) return nameA < nameB ? -1 : 1;
  return a.path < b.path ? -1 : 1;
}
