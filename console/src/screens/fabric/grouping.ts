// Groups of nodes for a graph with more nodes than a screen can show, and the search in it.

/** Cards that the graph shows at most. Beyond this count it shows groups. */
export const MAX_CARDS = 60;

/** Fields by which nodes are grouped and found. */
export interface GroupFields {
  readonly id: string;
  readonly path: string;
  readonly principal?: string | undefined;
  readonly software?: string | undefined;
  readonly addresses: readonly string[];
  readonly capabilities: readonly string[];
}

export type GroupBy = 'address' | 'principal' | 'software';

export interface Group<Node> {
  /** Unique in a list of groups. */
  readonly key: string;
  readonly label: string;
  /** In the order of the list. */
  readonly nodes: readonly Node[];
}

const NO_ADDRESS = 'No address';
const UNKNOWN = 'unknown';

/** Length from which a part of a name that contains a digit counts as a random id. */
const ID_LENGTH = 8;

/**
 * Returns an address without its numbers and ids, so that the addresses of replicas are equal: `worker-17@fame.fabric` becomes
 * `worker-*@fame.fabric`.
 */
export function addressPattern(address: string): string {
  const at = address.lastIndexOf('@');
  const name = at < 0 ? address : address.slice(0, at);
  const parts = name
    .split(/([-_.:]+)/)
    .map((part) =>
      /\d/.test(part) && part.length >= ID_LENGTH && !/^[a-z]+\d+$/i.test(part)
        ? '*'
        : part.replace(/\d+$/, '*'),
    );
  return parts.join('') + (at < 0 ? '' : address.slice(at));
}

/** Addresses of a node's own replies, `__rpc__...`, say nothing about its service. */
const isService = (address: string): boolean => !address.startsWith('__');

function labelOf(node: GroupFields, by: GroupBy): string {
  if (by === 'principal') return node.principal ?? UNKNOWN;
  if (by === 'software') return node.software ?? UNKNOWN;
  const address = node.addresses.find(isService);
  return address === undefined ? NO_ADDRESS : addressPattern(address);
}

/**
 * Groups nodes, the largest group first. The result has at most `max` groups: the smallest ones are combined in a last group.
 * A node with several addresses belongs to the group of its first one.
 */
export function groupNodes<Node extends GroupFields>(
  nodes: Iterable<Node>,
  by: GroupBy,
  max = MAX_CARDS,
): Group<Node>[] {
  const members = new Map<string, Node[]>();
  for (const node of nodes) {
    const label = labelOf(node, by);
    const group = members.get(label);
    if (group === undefined) members.set(label, [node]);
    else group.push(node);
  }
  const groups = [...members].map(([label, list]): Group<Node> => ({ key: `=${label}`, label, nodes: list }));
  groups.sort((a, b) => b.nodes.length - a.nodes.length || (a.label < b.label ? -1 : 1));
  if (groups.length <= max) return groups;
  const rest = groups.splice(max - 1);
  groups.push({
    key: 'rest',
    label: `${rest.length} smaller groups`,
    nodes: rest.flatMap((group) => group.nodes),
  });
  return groups;
}

/** Grouping with which the graph opens: by address, unless that puts all nodes in one group and the principals do not. */
export function defaultGrouping(nodes: readonly GroupFields[]): GroupBy {
  if (groupNodes(nodes, 'address').length > 1) return 'address';
  return groupNodes(nodes, 'principal').length > 1 ? 'principal' : 'address';
}

/** Returns the nodes that contain every word of `query` in one of their names, in any case. All nodes for an empty query. */
export function findNodes<Node extends GroupFields>(nodes: readonly Node[], query: string): readonly Node[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return nodes;
  return nodes.filter(({ id, path, principal = '', software = '', addresses, capabilities }) => {
    const text = [id, path, principal, software, ...addresses, ...capabilities].join('\n').toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
