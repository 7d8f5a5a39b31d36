// Layout of the graph: the sentinel in the middle, parents and peers above it, nodes below it. The other sentinels of a cluster follow
// below, each with its own nodes; a trunk at the left border connects them. Cards stand in rows that fill the width, so that the page
// scrolls in one direction only. An edge runs along the gaps between cards and never behind one.

export interface Box {
  readonly id: string;
  /** Left edge in CSS pixels. */
  readonly x: number;
  /** Top edge in CSS pixels. */
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

interface Edge {
  /** The id of its card. */
  readonly id: string;
  /** Path data of SVG, from the sentinel to the card. */
  readonly path: string;
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly hub: Box;
  /** In the order of the ids, first those above. Then for each other sentinel its card and the cards of its block. */
  readonly cards: readonly Box[];
  /** One for each card, in the same order. */
  readonly edges: readonly Edge[];
}

export interface BlockInput {
  readonly hubId: string;
  /** Ids of parents and peers. */
  readonly above: readonly string[];
  /** Ids of nodes, or of groups of nodes. */
  readonly below: readonly string[];
}

export interface LayoutInput extends BlockInput {
  /** Width of the drawing in CSS pixels. */
  readonly width: number;
  /** The other sentinels of the cluster. @default none */
  readonly others?: readonly BlockInput[];
}

const CARD_HEIGHT = 60;
const HUB_HEIGHT = 64;
const HUB_WIDTH = 260;
/** Least width of a card in a narrow window, where two still fit beside each other, and elsewhere. */
const MIN_CARD = 150;
const WIDE_CARD = 190;
/** Width from which cards have their wide form. */
const WIDE = 600;
const MAX_CARD = 250;
/** Space between two cards without a trunk between them, and between rows. */
const GAP = 12;
/** Space between the two cards of a pair, in which their trunk runs. */
const TRUNK = 28;
/** Distance between the sentinel and the nearest row. */
const BUS = 48;
const RADIUS = 8;
/** Room for the focus ring of the outermost cards. */
const MARGIN = 4;
/** Space for the trunk between sentinels. */
const INDENT = 20;
/** Space between two sentinels with their nodes. */
const BLOCK_GAP = 36;

interface Point {
  readonly x: number;
  readonly y: number;
}

/** Places the graph in `width` pixels. The height follows from the number of cards. */
export function layoutFabric({ width: given, others = [], ...own }: LayoutInput): Layout {
  const indent = others.length === 0 ? 0 : INDENT;
  const width = Math.max(given, MIN_CARD + TRUNK + 2 * MARGIN + indent);
  const first = layoutBlock(own, { x: indent, y: 0 }, width - indent);
  const cards = [...first.cards];
  const edges = [...first.edges];
  let { height } = first;
  const trunk = INDENT / 2;
  const middleOf = ({ y, height: size }: Box): number => y + size / 2;
  for (const other of others) {
    const block = layoutBlock(other, { x: indent, y: height + BLOCK_GAP }, width - indent);
    const { hub } = block;
    const [from, to] = [middleOf(first.hub), middleOf(hub)];
    const bends = [
      { x: first.hub.x, y: from },
      { x: trunk, y: from },
      { x: trunk, y: to },
      { x: hub.x, y: to },
    ];
    cards.push(hub, ...block.cards);
    edges.push({ id: hub.id, path: roundedPath(bends) }, ...block.edges);
    height = block.height;
  }
  return { width, height, hub: first.hub, cards, edges };
}

/** Places one sentinel with its cards. The height is that of its lower border. */
function layoutBlock({ hubId, above, below }: BlockInput, origin: Point, width: number): Layout {
  const up = placeRows(above, width);
  const down = placeRows(below, width);
  const upHeight = up.height === 0 ? 0 : up.height + BUS;
  const hubWidth = Math.min(HUB_WIDTH, width - 2 * MARGIN);
  const hub = {
    id: hubId,
    x: origin.x + (width - hubWidth) / 2,
    y: origin.y + MARGIN + upHeight,
    width: hubWidth,
    height: HUB_HEIGHT,
  };
  const bottom = hub.y + hub.height;
  const middle = origin.x + width / 2;
  const cards: Box[] = [];
  const edges: Edge[] = [];
  const add = ({ box, way }: Placed, start: number, direction: 1 | -1): void => {
    const edge = start + direction * BUS;
    const at = ({ x, y }: Point): Point => ({ x: origin.x + x, y: edge + direction * y });
    cards.push({
      ...box,
      x: origin.x + box.x,
      y: direction === 1 ? edge + box.y : edge - box.y - box.height,
    });
    const bus = start + (direction * BUS) / 2;
    const bends = [
      { x: middle, y: start },
      { x: middle, y: bus },
      { x: origin.x + way[0]!.x, y: bus },
      ...way.map(at),
    ];
    edges.push({ id: box.id, path: roundedPath(bends) });
  };
  for (const placed of up.placed) add(placed, hub.y, -1);
  for (const placed of down.placed) add(placed, bottom, 1);
  const height = bottom + (down.height === 0 ? 0 : BUS + down.height) + MARGIN;
  return { width, height, hub, cards, edges };
}

interface Placed {
  readonly box: Box;
  /** Points of the edge below the bus. Their y counts from the top of the rows. */
  readonly way: readonly Point[];
}

function placeRows(ids: readonly string[], width: number): { placed: Placed[]; height: number } {
  const room = width - 2 * MARGIN;
  const least = width < WIDE ? MIN_CARD : WIDE_CARD;
  const columnsInRow = Math.max(1, Math.floor((room + GAP) / (least + GAP)));
  if (ids.length <= columnsInRow) return placeRow(ids, width, room);
  // Pairs of columns with a trunk between them; one column beside a trunk if the width has no room for a pair.
  const pairs = Math.floor((room + GAP) / (2 * least + TRUNK + GAP));
  const columns = Math.max(1, pairs * 2);
  const units = Math.max(1, pairs);
  const unit = (room - (units - 1) * GAP) / units;
  const cardWidth =
    pairs === 0 ? Math.min(room - TRUNK, MAX_CARD * 1.5) : Math.min(MAX_CARD, (unit - TRUNK) / 2);
  const unitWidth = pairs === 0 ? TRUNK + cardWidth : 2 * cardWidth + TRUNK;
  const left = (width - units * unitWidth - (units - 1) * GAP) / 2;
  const placed = ids.map((id, index): Placed => {
    const column = index % columns;
    const y = Math.floor(index / columns) * (CARD_HEIGHT + GAP);
    const unitLeft = left + Math.floor(column / 2) * (unitWidth + GAP);
    const isLeft = pairs > 0 && column % 2 === 0;
    const trunk = pairs === 0 ? left + TRUNK / 2 : unitLeft + cardWidth + TRUNK / 2;
    const x = isLeft ? unitLeft : trunk + TRUNK / 2;
    const middle = y + CARD_HEIGHT / 2;
    const way = [
      { x: trunk, y: middle },
      { x: isLeft ? x + cardWidth : x, y: middle },
    ];
    return { box: { id, x, y, width: cardWidth, height: CARD_HEIGHT }, way };
  });
  const rows = Math.ceil(ids.length / columns);
  return { placed, height: rows * (CARD_HEIGHT + GAP) - GAP };
}

/** One row: each edge ends at the middle of its card's top. */
function placeRow(ids: readonly string[], width: number, room: number): { placed: Placed[]; height: number } {
  if (ids.length === 0) return { placed: [], height: 0 };
  const cardWidth = Math.min(MAX_CARD, (room - (ids.length - 1) * GAP) / ids.length);
  const left = (width - ids.length * cardWidth - (ids.length - 1) * GAP) / 2;
  const placed = ids.map((id, index): Placed => {
    const x = left + index * (cardWidth + GAP);
    const box = { id, x, y: 0, width: cardWidth, height: CARD_HEIGHT };
    return { box, way: [{ x: x + cardWidth / 2, y: 0 }] };
  });
  return { placed, height: CARD_HEIGHT };
}

/** Lines through `points`, with rounded corners. */
function roundedPath(points: readonly Point[]): string {
  const bends = points.filter(
    (point, index) => index === 0 || distance(point, points[index - 1]!) > Number.EPSILON,
  );
  let path = `M${round(bends[0]!)}`;
  for (let index = 1; index < bends.length; index++) {
    const from = bends[index - 1]!;
    const corner = bends[index]!;
    const to = bends[index + 1];
    if (to === undefined) return `${path}L${round(corner)}`;
    const radius = Math.min(RADIUS, distance(from, corner) / 2, distance(corner, to) / 2);
    path += `L${round(toward(corner, from, radius))}Q${round(corner)} ${round(toward(corner, to, radius))}`;
  }
  return path;
}

const distance = (a: Point, b: Point): number => Math.hypot(a.x - b.x, a.y - b.y);

function toward(from: Point, to: Point, length: number): Point {
  const part = length / distance(from, to);
  return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
}

const round = ({ x, y }: Point): string => `${Math.round(x * 10) / 10},${Math.round(y * 10) / 10}`;
