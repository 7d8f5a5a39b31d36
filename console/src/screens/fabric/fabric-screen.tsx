// The screen Fabric: the graph of the sentinel, the others of its cluster and their nodes, and a panel about the selected one.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { navigate } from '../../app/router.ts';
import { client } from '../../fabric/connection.ts';
import {
  type FabricView,
  fabricError,
  fabricView,
  type NodeView,
  nodesSource,
  sentinelOf,
} from '../../fabric/nodes.ts';
import { mayAdmin } from '../../fabric/session.ts';
import { useSource } from '../../fabric/shared-source.ts';
import { rateText } from '../../parts/format.ts';
import { Problem } from '../../parts/notices.tsx';
import { Page } from '../../parts/page.tsx';
import { blocksOf, otherSentinels } from './blocks.ts';
import { NoAgent } from './empty-fabric.tsx';
import { FabricFilter } from './fabric-filter.tsx';
import { cardIn, Graph } from './graph.tsx';
import { type CardModel, nodeName } from './graph-cards.ts';
import { GroupPanel } from './group-panel.tsx';
import { defaultGrouping, findNodes, type GroupBy, MAX_CARDS } from './grouping.ts';
import { Legend } from './legend.tsx';
import { LiveNodes } from './live-nodes.ts';
import { NodePanel, SidePanel } from './node-panel.tsx';
import { SentinelPanel } from './sentinel-panel.tsx';
import { UplinkPanel } from './uplinks.tsx';
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
  const blocks = useMemo(
    () => blocksOf({ view, nodes, found, by, history: live.history }),
    [view, nodes, found, by, now],
  );
  const cards = blocks.flatMap(({ sentinel, above, below }) => [
    ...(sentinel === undefined ? [] : [sentinel]),
    ...above,
    ...below,
  ]);

  const [kind, id] = args;
  const closePanel = (): void => {
    select();
    if (id !== undefined) cardIn(frame.current, id)?.focus();
  };
  const selected = cards.find((card) => card.id === id);
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
          sentinels={blocks.length}
        />
        {view.cluster?.state === 'alone' && <Alone cluster={view.cluster} id={view.sentinel.id} />}
        <Legend nodes={found} />
        <Graph
          hub={{ name: view.sentinel.id || 'sentinel', detail: hubDetail(view, live) }}
          blocks={blocks}
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
          {...{ id, kind, selected, live, ageOf, nodes, view }}
          onClose={closePanel}
          onOpen={(node) => select('node', node.path)}
        />
      )}
    </div>
  );
}

/** Shown while the sentinel has no connection to the servers of its cluster. */
const Alone = ({ cluster, id }: { cluster: NonNullable<FabricView['cluster']>; id: string }) => (
  <div class="problem" role="alert">
    <p>
      The sentinel {id} has no connection to NATS{cluster.reason && `: ${cluster.reason}`}. It serves its own
      nodes only.
    </p>
    <p class="muted">It connects again by itself. The nodes of other sentinels are not shown until then.</p>
  </div>
);

interface SelectedProps {
  view: FabricView;
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
function Selected({ view, kind, id, selected, nodes, live, ageOf, onOpen, onClose }: SelectedProps) {
  const node = kind === 'node' ? nodes.find(({ path }) => path === id) : undefined;
  if (node) {
    const path = sentinelOf(view, node.path);
    const other = otherSentinels(view).find((member) => member.path === path);
    return (
      <NodePanel
        key={id}
        node={node}
        sentinel={view.cluster && (other?.id ?? view.sentinel.id)}
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
  if (selected?.kind === 'sentinel') return <SentinelPanel sentinel={selected} onClose={onClose} />;
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

function hubDetail({ nodes, remote, sentinel }: FabricView, { history }: LiveNodes): string {
  let messages = 0;
  // A message between two nodes counts once, as received by the sentinel.
  for (const path of nodes.keys()) if (!remote.has(path)) messages += history.rateOf(path).messagesIn;
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
