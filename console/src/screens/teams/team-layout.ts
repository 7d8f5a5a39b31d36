// Places the agents of a team and the targets of their routes in columns, from the first agent to the right. Routes with the same ends
// are one line with several labels.
import type { TeamDescription, TeamRoute } from './team.ts';

export type TargetKind = TeamRoute['to']['kind'];

export interface PlacedNode {
  readonly id: string;
  readonly kind: TargetKind;
  readonly name: string;
  /** The name, shortened to fit the box. */
  readonly text: string;
  readonly isReachable: boolean;
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

interface PlacedEdge {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly path: string;
  readonly label: string;
  /** All values of the line, without shortening. */
  readonly title: string;
  readonly labelX: number;
  readonly labelY: number;
  readonly isLoop: boolean;
}

export interface TeamLayout {
  readonly nodes: readonly PlacedNode[];
  readonly edges: readonly PlacedEdge[];
  readonly width: number;
  readonly height: number;
}

export const NODE_HEIGHT = 40;
const CHAR_WIDTH = 8;
const MAX_CHARS = 24;
const LABEL_CHARS = 24;
/** Least and largest space between two columns; it depends on the labels there. */
const COLUMN_GAPS = [90, 190] as const;
const LABEL_CHAR_WIDTH = 6.6;
const ROW_GAP = 34;
const MARGIN = 24;

export const nodeId = (kind: TargetKind, name: string): string => `${kind} ${name}`;
export const edgeId = (route: TeamRoute): string => `${route.from}\n${nodeId(route.to.kind, route.to.name)}`;

export const shortText = (text: string, chars: number): string =>
  text.length > chars ? `${text.slice(0, chars - 1)}…` : text;

interface Node {
  readonly id: string;
  readonly kind: TargetKind;
  readonly name: string;
  readonly isReachable: boolean;
}

export function layoutTeam({ start, agents, routes }: TeamDescription): TeamLayout {
  const nodes = new Map<string, Node>();
  const add = (kind: TargetKind, name: string, isReachable: boolean): void => {
    const id = nodeId(kind, name);
    if (!nodes.has(id)) nodes.set(id, { id, kind, name, isReachable });
  };
  for (const { name, reachable } of agents) add('agent', name, reachable);
  for (const { from, to } of routes) {
    add('agent', from, true);
    add(to.kind, to.name, nodes.get(nodeId('agent', from))?.isReachable ?? true);
  }
  const columns = columnsOf([...nodes.values()], nodeId('agent', start), routes);
  const placed = place(columns, labelsOf(routes));
  const width = Math.max(...[...placed.values()].map((one) => one.x + one.width), 0) + MARGIN;
  const { edges, bottom } = placeEdges(routes, placed);
  return { nodes: [...placed.values()], edges, width, height: bottom + MARGIN };
}

/** The nodes by column. A node is right of each node that routes to it, except for routes that lead back. */
function columnsOf(nodes: readonly Node[], start: string, routes: readonly TeamRoute[]): Node[][] {
  const targets = new Map<string, Set<string>>();
  for (const { from, to } of routes) {
    const id = nodeId('agent', from);
    const known = targets.get(id) ?? new Set();
    targets.set(id, known.add(nodeId(to.kind, to.name)));
  }
  const order = orderFrom(start, nodes, targets);
  const rank = new Map(order.map((id, i) => [id, i]));
  const column = new Map<string, number>();
  for (const id of order) {
    const own = column.get(id) ?? 0;
    column.set(id, own);
    for (const target of targets.get(id) ?? []) {
      // Routes to an earlier node lead back.
      if (rank.get(target)! > rank.get(id)!) column.set(target, Math.max(column.get(target) ?? 0, own + 1));
    }
  }
  const columns: Node[][] = [];
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const rowOf = new Map<string, number>();
  for (const id of order) {
    const at = column.get(id)!;
    columns[at] ??= [];
    columns[at].push(byId.get(id)!);
  }
  // Each column in the order of the middle of its sources, so that few lines cross.
  for (const nodesOfColumn of columns) {
    const middle = (id: string): number => {
      const rows = [...targets].filter(([, to]) => to.has(id)).map(([from]) => rowOf.get(from) ?? 0);
      return rows.length > 0 ? rows.reduce((sum, row) => sum + row, 0) / rows.length : 0;
    };
    nodesOfColumn.sort((a, b) => middle(a.id) - middle(b.id));
    for (const [row, { id }] of nodesOfColumn.entries()) rowOf.set(id, row - (nodesOfColumn.length - 1) / 2);
  }
  return columns;
}

/** Reverse postorder: each node comes before its targets, except for routes that lead back. Unreachable nodes come last. */
function orderFrom(
  start: string,
  nodes: readonly Node[],
  targets: ReadonlyMap<string, ReadonlySet<string>>,
): string[] {
  const seen = new Set<string>();
  const visit = (root: string): string[] => {
    const done: string[] = [];
    const stack: [string, string[]][] = [];
    const enter = (id: string): void => {
      seen.add(id);
      stack.push([id, [...(targets.get(id) ?? [])].reverse()]);
    };
    enter(root);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const next = top[1].shift();
      if (next === undefined) {
        done.push(top[0]);
        stack.pop();
      } else if (!seen.has(next)) enter(next);
    }
    return done.reverse();
  };
  const known = new Set(nodes.map(({ id }) => id));
  const order = known.has(start) ? visit(start) : [];
  for (const { id } of nodes) if (!seen.has(id)) order.push(...visit(id));
  return order;
}

/** The length of the longest label at each target, in characters. */
function labelsOf(routes: readonly TeamRoute[]): ReadonlyMap<string, number> {
  const chars = new Map<string, number>();
  for (const [, same] of linesOf(routes)) {
    const { to } = same[0]!;
    const id = nodeId(to.kind, to.name);
    chars.set(id, Math.max(chars.get(id) ?? 0, labelOf(same).length));
  }
  return chars;
}

const labelOf = (same: readonly TeamRoute[]): string =>
  shortText(same.map(({ value }) => value ?? 'otherwise').join(' | '), LABEL_CHARS);

/** Routes with the same ends. */
function linesOf(routes: readonly TeamRoute[]): ReadonlyMap<string, TeamRoute[]> {
  const lines = new Map<string, TeamRoute[]>();
  for (const route of routes) {
    const same = lines.get(edgeId(route));
    if (same) same.push(route);
    else lines.set(edgeId(route), [route]);
  }
  return lines;
}

function place(columns: readonly Node[][], labels: ReadonlyMap<string, number>): Map<string, PlacedNode> {
  const rows = Math.max(1, ...columns.map((column) => column.length));
  const placed = new Map<string, PlacedNode>();
  let x = MARGIN;
  for (const [at, column] of columns.entries()) {
    if (at > 0) {
      const chars = Math.max(0, ...column.map(({ id }) => labels.get(id) ?? 0));
      x += Math.min(COLUMN_GAPS[1], COLUMN_GAPS[0] + chars * LABEL_CHAR_WIDTH - 20);
    }
    const width = Math.max(
      90,
      ...column.map((node) => 24 + CHAR_WIDTH * Math.min(MAX_CHARS, textOf(node).length)),
    );
    const top = MARGIN + ((rows - column.length) * (NODE_HEIGHT + ROW_GAP)) / 2;
    for (const [i, node] of column.entries()) {
      const y = top + i * (NODE_HEIGHT + ROW_GAP);
      placed.set(node.id, { ...node, text: shortText(textOf(node), MAX_CHARS), x, y, width });
    }
    x += width;
  }
  return placed;
}

const textOf = ({ kind, name }: Pick<Node, 'kind' | 'name'>): string => {
  if (kind === 'function') return `${name}()`;
  return kind === 'ignore' ? `ignore: ${name}` : name;
};

function placeEdges(
  routes: readonly TeamRoute[],
  placed: ReadonlyMap<string, PlacedNode>,
): { edges: PlacedEdge[]; bottom: number } {
  let bottom = Math.max(0, ...[...placed.values()].map(({ y }) => y + NODE_HEIGHT));
  const below = bottom;
  let backs = 0;
  const edges = [...linesOf(routes)].map(([id, same]): PlacedEdge => {
    const [{ from, to, is_loop: isLoop }] = same as [TeamRoute];
    const a = placed.get(nodeId('agent', from))!;
    const b = placed.get(nodeId(to.kind, to.name))!;
    const title = same
      .map(({ argument, value }) => `${argument} ${value === null ? 'otherwise' : `= ${value}`}`)
      .join(', ');
    const label = labelOf(same);
    const common = { id, from: a.id, to: b.id, label, title, isLoop };
    if (b.x > a.x) {
      const [x1, y1, x2, y2] = [a.x + a.width, a.y + NODE_HEIGHT / 2, b.x - 7, b.y + NODE_HEIGHT / 2];
      const bend = Math.min(90, (x2 - x1) / 2);
      const path = `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
      return { ...common, path, labelX: x2 - 12, labelY: y2 - 7 };
    }
    // A route that leads back passes below all nodes.
    const depth = below + 22 + 22 * backs++;
    bottom = Math.max(bottom, depth);
    const [x1, x2] = [a.x + a.width * 0.6, b.x + b.width * 0.4];
    const [y1, y2] = [a.y + NODE_HEIGHT, b.y + NODE_HEIGHT + 7];
    const path = `M${x1} ${y1}C${x1} ${depth} ${x1} ${depth} ${(x1 + x2) / 2} ${depth}S${x2} ${depth} ${x2} ${y2}`;
    return { ...common, path, labelX: (x1 + x2) / 2 + 60, labelY: depth - 5 };
  });
  return { edges, bottom };
}
