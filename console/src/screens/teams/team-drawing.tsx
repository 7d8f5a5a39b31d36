// The drawn team. The path of a message is lit: the nodes that had it, the lines that it took, and where it is now.
import type { MessagePath } from './message-path.ts';
import { NODE_HEIGHT, type PlacedNode, type TeamLayout } from './team-layout.ts';

export interface TeamDrawingProps {
  layout: TeamLayout;
  start: string;
  path: MessagePath | undefined;
}

/** The drawing shrinks to its panel, but not below this width, in px. */
const MIN_WIDTH = 620;

export function TeamDrawing({ layout, start, path }: TeamDrawingProps) {
  const { nodes, edges, width, height } = layout;
  const lit = new Set([...(path?.nodes ?? []), ...(path?.edges ?? [])]);
  const now = path?.state === 'running' ? path.nodes.at(-1) : undefined;
  const order =
    lit.size > 0 ? [...edges].sort((a, b) => Number(lit.has(a.id)) - Number(lit.has(b.id))) : edges;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: wide drawings scroll, also by the keyboard
    <section class="teams-drawing" tabIndex={0} aria-label="Drawing of the team">
      <svg
        style={{ maxWidth: `${width}px`, minWidth: `${Math.min(width, MIN_WIDTH)}px` }}
        viewBox={`0 0 ${width} ${height}`}
        role="img"
        aria-labelledby="teams-title"
      >
        <title id="teams-title">
          The agents of the team and their routes. The table of routes has the same content.
        </title>
        <defs>
          <Arrow id="teams-arrow" class="teams-tip" />
          <Arrow id="teams-arrow-lit" class="teams-tip teams-tip-lit" />
        </defs>
        {order.map((edge) => {
          const isLit = lit.has(edge.id);
          const kind = `${edge.isLoop ? ' teams-loop' : ''}${isLit ? ' teams-lit' : ''}`;
          return (
            <g key={edge.id} class={`teams-edge${kind}`} data-edge={edge.title}>
              <title>{edge.title}</title>
              <path d={edge.path} marker-end={`url(#teams-arrow${isLit ? '-lit' : ''})`} />
            </g>
          );
        })}
        {/* After all lines, so that none crosses a label. */}
        {order.map((edge) => (
          <text
            key={edge.id}
            class={`teams-label${lit.has(edge.id) ? ' teams-lit' : ''}`}
            x={edge.labelX}
            y={edge.labelY}
          >
            {edge.isLoop ? `↻ ${edge.label}` : edge.label}
          </text>
        ))}
        {nodes.map((node) => (
          <NodeView
            key={node.id}
            node={node}
            isStart={node.kind === 'agent' && node.name === start}
            isLit={lit.has(node.id)}
            isNow={now === node.id}
          />
        ))}
      </svg>
    </section>
  );
}

const Arrow = ({ id, class: name }: { id: string; class: string }) => (
  <marker
    id={id}
    viewBox="0 0 8 8"
    refX="1"
    refY="4"
    markerWidth="8"
    markerHeight="8"
    orient="auto"
    markerUnits="userSpaceOnUse"
  >
    <path d="M0 0L8 4L0 8Z" class={name} />
  </marker>
);

function NodeView({
  node,
  isStart,
  isLit,
  isNow,
}: {
  node: PlacedNode;
  isStart: boolean;
  isLit: boolean;
  isNow: boolean;
}) {
  const { kind, name, text, isReachable, x, y, width } = node;
  const states = [isLit && 'teams-lit', isNow && 'teams-now', !isReachable && 'teams-lost'].filter(Boolean);
  return (
    <g class={`teams-node teams-${kind} ${states.join(' ')}`} data-node={name}>
      <title>{isReachable ? name : `${name}: no route leads here`}</title>
      <rect x={x} y={y} width={width} height={NODE_HEIGHT} rx={kind === 'agent' ? 8 : 20} />
      {isStart && <circle cx={x} cy={y + NODE_HEIGHT / 2} r="6" />}
      <text x={x + width / 2} y={y + NODE_HEIGHT / 2 + 5}>
        {text}
      </text>
    </g>
  );
}
