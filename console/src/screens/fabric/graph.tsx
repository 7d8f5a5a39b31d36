// The drawing of the fabric: edges in SVG, cards as buttons on top of them. One card at a time is in the tab order; the arrow keys
// move between cards.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { NodeView } from '../../fabric/nodes.ts';
import { countText, rateText } from '../../parts/format.ts';
import { cardAfterKey } from './arrow-keys.ts';
import type { Block } from './blocks.ts';
import { type CardModel, nodeName } from './graph-cards.ts';
import { type BlockInput, type Box, layoutFabric } from './layout.ts';
import { trafficLevel } from './node-history.ts';
import { shownState, stateText } from './node-state.ts';
import { SENTINEL_STATES } from './sentinel-panel.tsx';

const HUB_ID = 'sentinel';

export interface GraphProps {
  /** Name of the sentinel and a line about it. */
  hub: { name: string; detail: string };
  /** The sentinel of the page first, then the others of its cluster. */
  blocks: readonly [Block, ...Block[]];
  /** Id of the card whose panel is open. */
  selected: string | undefined;
  /** Path of the node that this page is. */
  ownPath: string | undefined;
  /** Time since the state of a node arrived, in ms. */
  ageOf: (node: NodeView) => number;
  onOpen: (card: CardModel) => void;
}

export function Graph({ hub, blocks, selected, ownPath, ageOf, onOpen }: GraphProps) {
  const frame = useRef<HTMLDivElement>(null);
  const width = useWidth(frame);
  const cards = useMemo(() => blocks.flatMap(cardsIn), [blocks]);
  // The layout depends on the ids only. Traffic changes the cards each second.
  const ids = JSON.stringify(blocks.map(idsIn));
  const layout = useMemo(() => {
    const [own, ...others] = blocks.map(idsIn);
    return layoutFabric({ width, ...own!, others });
  }, [width, ids]);
  const boxes = useMemo(() => new Map(layout.cards.map((box) => [box.id, box])), [layout]);
  const [focused, setFocused] = useState<string>();
  useEffect(() => {
    // A panel beside the graph makes it narrower, which moves the cards.
    if (selected === undefined) return;
    cardIn(frame.current, selected)?.scrollIntoView({ block: 'nearest' });
  }, [selected, width]);
  const tabStop = [focused, selected].find((id) => id !== undefined && boxes.has(id)) ?? cards[0]?.id;

  const onKeyDown = (event: KeyboardEvent): void => {
    const current = (event.target as HTMLElement).closest<HTMLElement>('[data-card]')?.dataset.card;
    if (current === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = cardAfterKey(layout.cards, current, event.key);
    if (next === undefined) return;
    event.preventDefault();
    cardIn(frame.current, next)?.focus();
  };

  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for the controls of a form
    <div
      class="fabric-graph"
      ref={frame}
      role="group"
      aria-label="Nodes of the fabric. Move with the arrow keys, open with Enter."
      style={{ height: `${layout.height}px` }}
      onKeyDown={onKeyDown}
    >
      <svg class="fabric-edges" width={layout.width} height={layout.height} aria-hidden="true">
        {layout.edges.map(({ id, path }, index) => (
          <path key={id} d={path} class={`fabric-edge ${isLost(cards[index]) ? 'is-lost' : ''}`} />
        ))}
        {cards.flatMap((card, index) => traffic(card, layout.edges[index]?.path))}
      </svg>
      <div class="fabric-hub" style={place(layout.hub)}>
        <strong>{hub.name}</strong>
        <span class="muted">{hub.detail}</span>
      </div>
      {cards.map((card) => {
        const box = boxes.get(card.id);
        if (box === undefined) return null;
        return (
          <Card
            key={card.id}
            card={card}
            box={box}
            isOwn={card.id === ownPath}
            ageOf={ageOf}
            isSelected={card.id === selected}
            isTabStop={card.id === tabStop}
            onFocus={() => setFocused(card.id)}
            onOpen={() => onOpen(card)}
          />
        );
      })}
    </div>
  );
}

/** The cards of a block, in the order of the layout. */
const cardsIn = ({ sentinel, above, below }: Block): CardModel[] => [
  ...(sentinel === undefined ? [] : [sentinel]),
  ...above,
  ...below,
];

const idsIn = ({ sentinel, above, below }: Block): BlockInput => ({
  hubId: sentinel?.id ?? HUB_ID,
  above: above.map(({ id }) => id),
  below: below.map(({ id }) => id),
});

const isLost = (card: CardModel | undefined): boolean => card?.kind === 'sentinel' && card.state === 'lost';

/** The button of a card. */
export const cardIn = (frame: HTMLElement | null, id: string): HTMLElement | null =>
  frame?.querySelector<HTMLElement>(`[data-card="${CSS.escape(id)}"]`) ?? null;

/** Moving dashes of an edge, one path for each direction that has traffic. */
function traffic(card: CardModel, path: string | undefined) {
  if (path === undefined) return [];
  const out = trafficLevel(card.messagesOut);
  const into = trafficLevel(card.messagesIn);
  return [
    ...(out > 0 ? [<path key={`${card.id} out`} d={path} class={`fabric-flow flow-out flow-${out}`} />] : []),
    ...(into > 0 ? [<path key={`${card.id} in`} d={path} class={`fabric-flow flow-in flow-${into}`} />] : []),
  ];
}

interface CardProps {
  card: CardModel;
  box: Box;
  /** True for the node that this page is. */
  isOwn: boolean;
  ageOf: (node: NodeView) => number;
  isSelected: boolean;
  isTabStop: boolean;
  onFocus: () => void;
  onOpen: () => void;
}

function Card({ card, box, isOwn, ageOf, isSelected, isTabStop, onFocus, onOpen }: CardProps) {
  const text = cardText(card, ageOf);
  const isSentinel = card.kind === 'sentinel';
  return (
    <button
      type="button"
      class={`fabric-card ${isSentinel ? 'fabric-sentinel' : ''} ${isSelected ? 'is-selected' : ''}`}
      style={place(box)}
      data-card={card.id}
      data-state={card.kind === 'node' ? shownState(card.node) : isSentinel ? card.state : card.kind}
      tabIndex={isTabStop ? 0 : -1}
      aria-pressed={isSelected}
      title={text.title}
      onFocus={onFocus}
      onClick={onOpen}
    >
      <span class="fabric-card-name">
        {card.kind === 'node' && (
          <span class={`fabric-dot state-${shownState(card.node)}`} aria-hidden="true" />
        )}
        <Name text={isOwn ? 'This page' : text.name} />
        {text.others > 0 && <span class="muted">+{text.others}</span>}
      </span>
      <span class="fabric-card-line muted">
        <span class="fabric-cut">{text.state}</span>
        {text.rate !== '' && <span class="fabric-rate">{text.rate}</span>}
      </span>
    </button>
  );
}

/** The part after the @ is equal for most nodes, so it is the part that is cut. */
function Name({ text }: { text: string }) {
  const at = text.lastIndexOf('@');
  if (at <= 0) return <span class="fabric-cut">{text}</span>;
  return (
    <>
      <span class="fabric-cut">{text.slice(0, at)}</span>
      <span class="fabric-domain">{text.slice(at)}</span>
    </>
  );
}

function cardText(card: CardModel, ageOf: CardProps['ageOf']) {
  const messages = card.messagesIn + card.messagesOut;
  const rate = messages > 0 ? rateText(messages) : '';
  if (card.kind === 'node') {
    const { node } = card;
    return {
      name: nodeName(node),
      others: Math.max(0, node.addresses.length - 1),
      title: [node.path, ...node.addresses].join('\n'),
      state: stateText(node, ageOf(node)),
      rate,
    };
  }
  if (card.kind === 'uplink') {
    return {
      name: card.id,
      others: 0,
      title: card.reason ?? card.id,
      state: `${card.role}, ${card.state}`,
      rate,
    };
  }
  if (card.kind === 'sentinel') {
    const { member, nodes, state } = card;
    const count = `${countText(nodes)} ${nodes === 1 ? 'node' : 'nodes'}`;
    return {
      name: member.id,
      others: 0,
      title: `${member.software} at ${member.path}`,
      state: state === 'linked' ? count : `${SENTINEL_STATES[state].text}, ${count}`,
      rate,
    };
  }
  const { group, states } = card;
  const all = states.map(([name, count]) => `${countText(count)} ${name}`);
  const unusual = all.filter((_text, index) => !['attached', 'busy'].includes(states[index]![0]));
  const state = [`${countText(group.nodes.length)} nodes`, ...unusual].join(', ');
  return { name: group.label, others: 0, title: [group.label, ...all].join('\n'), state, rate };
}

const place = ({ x, y, width, height }: Box) => ({
  transform: `translate(${x}px, ${y}px)`,
  width: `${width}px`,
  height: `${height}px`,
});

/** Width of an element, before the first paint and after each change. */
function useWidth(element: { current: HTMLElement | null }): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => setWidth(element.current?.clientWidth ?? 0), []);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    if (element.current !== null) observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}
