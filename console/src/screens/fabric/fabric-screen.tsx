// The screen Fabric: the graph of the sentinel and its nodes, and a panel about the selected one.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { navigate } from '../../app/router.ts';
import { client } from '../../fabric/connection.ts';
import { type FabricView, fabricError, fabricView, type NodeView, nodesSource } from '../../fabric/nodes.ts';
import { mayAdmin } from '../../fabric/session.ts';
import { useSource } from '../../fabric/shared-source.ts';
import { rateText } from '../../parts/format.ts';
import { Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { NoAgent } from './empty-fabric.tsx';
import { FabricFilter } from './fabric-filter.tsx';
import { cardIn, Graph } from './graph.tsx';
import { type CardModel, cardsOf, nodeCard, nodeName } from './graph-cards.ts';
import { GroupPanel } from './group-panel.tsx';
import { defaultGrouping, findNodes, type GroupBy, MAX_CARDS } from './grouping.ts';
import { Legend } from './legend.tsx';
import { LiveNodes } from './live-nodes.ts';
import { NodePanel, SidePanel } from './node-panel.tsx';
import { readUplinks, UplinkPanel } from './uplinks.tsx';
import './fabric.css';

export function FabricScreen({ args }: { args: readonly string[] }) {
  useSource(nodesSource);
  const view = fabricView.value;
  const error = fabricError.value;
  return (
    <Page title="Fabric">
      {error !== undefined && (
        <Problem
          error={error}
          fix={view && 'The graph shows the last known state. It continues by itself.'}
        />
      )}
      {view ? (
        <Fabric view={view} args={args} />
      ) : (
        error === undefined && (
          <p class="muted" aria-busy="true">
            Loading…
          </p>
        )
      )}
    </Page>
  );
}

/** Opens a panel: `node` and its path, `group` and its key, or none. */
const select = (...args: string[]): void => navigate(['fabric', ...args]);

function Fabric({ view, args }: { view: FabricView; args: readonly string[] }) {
  const { live, now } = useLiveNodes(view);
  const frame = useRef<HTMLDivElement>(null);
  const [query, setQuery] = useState('');
  const [chosen, setChosen] = useState<GroupBy>();
  const nodes = useMemo(() => [...view.nodes.values(), ...live.gone], [view.nodes, live.gone]);
  const members = useMemo(() => nodes.filter(({ kind }) => kind === 'node'), [nodes]);
  const found = useMemo(() => findNodes(members, query), [members, query]);
  const isGrouped = found.length > MAX_CARDS;
  const by = chosen ?? (isGrouped ? defaultGrouping(found) : 'address');
  // Each second, also without a line of the stream, because rates fall to zero.
  const below = useMemo(() => cardsOf(found, by, live.history), [found, by, now]);
  const above: CardModel[] = [
    ...nodes.filter(({ kind }) => kind !== 'node').map((node) => nodeCard(node, live.history)),
    ...readUplinks(view.uplinks),
  ];

  const [kind, id] = args;
  const closePanel = (): void => {
    select();
    if (id !== undefined) cardIn(frame.current, id)?.focus();
  };
  const selected = [...above, ...below].find((card) => card.id === id);
  const ageOf = (node: NodeView): number => live.ageOf(node, now);
  return (
    <div class={`fabric ${kind === undefined ? '' : 'has-panel'}`}>
      <div class="fabric-main" ref={frame}>
        <FabricFilter
          query={query}
          onQuery={setQuery}
          by={isGrouped ? by : undefined}
          onGroup={setChosen}
          found={found.length}
          total={members.length}
        />
        <Legend nodes={found} />
        <Graph
          hub={{ name: view.sentinel.id || 'sentinel', detail: hubDetail(view, live) }}
          above={above}
          below={below}
          selected={selected?.id}
          ownPath={client.value?.path}
          ageOf={ageOf}
          onOpen={(card) => select(card.kind, card.id)}
        />
        {found.length === 0 && members.length > 0 && (
          <p class="muted" role="status">
            No node contains “{query}”.
          </p>
        )}
        {!members.some(hasService) && <NoAgent />}
      </div>
      {kind !== undefined && id !== undefined && (
        <Selected
          {...{ id, kind, selected, live, ageOf, nodes }}
          onClose={closePanel}
          onOpen={(node) => select('node', node.path)}
        />
      )}
    </div>
  );
}

interface SelectedProps {
  kind: string;
  id: string;
  selected: CardModel | undefined;
  nodes: readonly NodeView[];
  live: LiveNodes;
  ageOf: (node: NodeView) => number;
  onOpen: (node: NodeView) => void;
  onClose: () => void;
}

/** The panel of the route. A node may be hidden in a group, or by the search. */
function Selected({ kind, id, selected, nodes, live, ageOf, onOpen, onClose }: SelectedProps) {
  const node = kind === 'node' ? nodes.find(({ path }) => path === id) : undefined;
  if (node) {
    return (
      <NodePanel
        key={id}
        node={node}
        history={live.history}
        ageMs={ageOf(node)}
        isAdmin={mayAdmin.value}
        isOwn={id === client.value?.path}
        onClose={onClose}
      />
    );
  }
  if (selected?.kind === 'group') {
    return <GroupPanel key={id} group={selected.group} ageOf={ageOf} onOpen={onOpen} onClose={onClose} />;
  }
  if (selected?.kind === 'uplink') return <UplinkPanel uplink={selected} onClose={onClose} />;
  return (
    <SidePanel title={kind === 'node' ? 'This node has left' : 'This group is empty'} onClose={onClose}>
      <p>
        <code>{id.replace(/^=/, '')}</code> is not attached any more.
      </p>
    </SidePanel>
  );
}

const hasService = (node: NodeView): boolean =>
  node.state !== 'gone' && node.addresses.length > 0 && nodeName(node).includes('@');

function hubDetail({ nodes, sentinel }: FabricView, { history }: LiveNodes): string {
  let messages = 0;
  // A message between two nodes counts once, as received by the sentinel.
  for (const path of nodes.keys()) messages += history.rateOf(path).messagesIn;
  return `${sentinel.version.replace(/^.*\//, 'version ')} · ${rateText(messages, 'messages')}`;
}

/** Keeps the history of the list, and renders anew each second. `now` is monotonic, in ms. */
function useLiveNodes({ nodes }: FabricView): { live: LiveNodes; now: number } {
  const live = useMemo(() => new LiveNodes(), []);
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    live.update(nodes, performance.now());
    setNow(performance.now());
  }, [live, nodes]);
  useEffect(() => {
    const timer = setInterval(() => {
      live.tick(performance.now());
      setNow(performance.now());
    }, 1_000);
    return () => clearInterval(timer);
  }, [live]);
  return { live, now };
}
