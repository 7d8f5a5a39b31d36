// The blocks of the graph: the sentinel of the page and the others of its cluster, each with its nodes.
import { type FabricView, type MemberView, type NodeView, sentinelOf } from '../../fabric/nodes.ts';
import { type CardModel, groupCards, nodeCard, nodeCards, type SentinelCardModel } from './graph-cards.ts';
import { type GroupBy, MAX_CARDS } from './grouping.ts';
import type { NodeHistory } from './node-history.ts';
import { readUplinks } from './uplinks.tsx';

/** Minimum number of groups in the block of one sentinel. */
const LEAST_GROUPS = 6;

export interface Block {
  /** Undefined for the sentinel of the page. */
  readonly sentinel: SentinelCardModel | undefined;
  /** Parents and peers. */
  readonly above: readonly CardModel[];
  readonly below: readonly CardModel[];
}

export interface BlocksInput {
  view: FabricView;
  /** All nodes, also those that left a moment ago. */
  nodes: readonly NodeView[];
  /** Nodes that the search found. */
  found: readonly NodeView[];
  by: GroupBy;
  history: NodeHistory;
}

/** The block of the sentinel of the page first, then those of the others in the order of their ids. */
export function blocksOf({ view, nodes, found, by, history }: BlocksInput): [Block, ...Block[]] {
  const members = otherSentinels(view);
  const isGrouped = found.length > MAX_CARDS;
  const max = Math.max(LEAST_GROUPS, Math.floor(MAX_CARDS / (members.length + 1)));
  const isMissing = new Set(view.missing);
  const all = bySentinel(view, nodes);
  const shown = bySentinel(view, found);
  const block = (path: string, sentinel: SentinelCardModel | undefined): Block => {
    const prefix = sentinel === undefined ? '' : path;
    const below = shown.get(path) ?? [];
    return {
      sentinel,
      // Links of the cluster are drawn between the sentinels.
      above: (all.get(path) ?? [])
        .filter(({ kind }) => kind !== 'node' && kind !== 'member')
        .map((node) => nodeCard(node, history)),
      below: isGrouped ? groupCards(below, { by, max, prefix }, history) : nodeCards(below, history),
    };
  };
  const own = block(view.sentinel.path, undefined);
  const others = members.map((member) => {
    const { id, path, lostAt } = member;
    const state = lostAt !== undefined ? 'lost' : isMissing.has(id) ? 'silent' : 'linked';
    const isOwn = ({ kind, state: nodeState }: NodeView): boolean => kind === 'node' && nodeState !== 'gone';
    const count = (all.get(path) ?? []).filter(isOwn).length;
    const { messagesIn, messagesOut } = history.rateOf(path);
    return block(path, { kind: 'sentinel', id: path, member, state, nodes: count, messagesIn, messagesOut });
  });
  return [{ ...own, above: [...own.above, ...readUplinks(view.uplinks)] }, ...others];
}

/** The other sentinels of the cluster, also those that were lost a short time ago. */
export function otherSentinels({ cluster }: FabricView): MemberView[] {
  if (cluster === undefined) return [];
  return [...cluster.members, ...cluster.lost].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Groups nodes by the path of their sentinel. */
function bySentinel(view: FabricView, nodes: readonly NodeView[]): Map<string, NodeView[]> {
  const groups = new Map<string, NodeView[]>();
  for (const node of nodes) {
    const path = node.kind === 'member' ? view.sentinel.path : sentinelOf(view, node.path);
    const group = groups.get(path);
    if (group === undefined) groups.set(path, [node]);
    else group.push(node);
  }
  return groups;
}
