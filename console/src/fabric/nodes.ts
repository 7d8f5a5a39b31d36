// The nodes of the sentinel and of the others of its cluster, kept current by its stream of changes while a screen shows them.
import { signal } from '@preact/signals';
import { followLines } from './lines.ts';
import { sharedSource } from './shared-source.ts';

interface SentinelView {
  id: string;
  path: string;
  /** Software and version, such as `fame-fabric/0.2.0`. */
  version: string;
  uptimeMs: number;
  queues: { queuedBytes: number; socketBytes: number; limitBytes: number; totalLimitBytes: number };
}

/** One attached process, or one that is away and may resume. */
export interface NodeView {
  id: string;
  path: string;
  kind: string;
  state: 'attached' | 'detached' | 'gone';
  /** True if the node gets no new calls, because an administrator drains it. */
  isDraining?: boolean;
  principal: string;
  /** Start of the session, ISO 8601. */
  since: string;
  addresses: readonly string[];
  capabilities: readonly string[];
  queuedMessages: number;
  queuedBytes: number;
  withheldGrants: number;
  openCalls: number;
  /** Calls that others made to this node and that are open. */
  serving: number;
  software?: string;
  /** Rest of the resume window of a node that is away, in ms. */
  resumeMs?: number;
  lastRefusal?: { code: string; t: number };
  /** Counts since the attach, seen from the sentinel. */
  traffic?: { messagesIn: number; bytesIn: number; messagesOut: number; bytesOut: number };
  limits?: { queueBytes: number; openCalls: number };
}

/** Another sentinel of the cluster. */
export interface MemberView {
  id: string;
  path: string;
  /** Software and version. */
  software: string;
  /** Time at which the link to it was lost, in ms since the epoch. Absent while the link is up. */
  lostAt?: number;
}

/** The cluster as the sentinel of the page sees it. */
export interface ClusterView {
  name: string;
  /** `alone` without NATS: the sentinel reaches its own nodes only. */
  state: 'connected' | 'alone';
  /** Why NATS is not reached. */
  reason?: string;
  /** Sentinels with a link. */
  members: readonly MemberView[];
  /** Sentinels whose link was lost a short time ago. */
  lost: readonly MemberView[];
}

export interface FabricView {
  sentinel: SentinelView;
  /** Connections to a parent and to peers. */
  uplinks: readonly Readonly<Record<string, unknown>>[];
  /** Absent if the sentinel is in no cluster. */
  cluster?: ClusterView | undefined;
  /** Ids of sentinels of the cluster that did not answer the last request for their nodes. */
  missing: readonly string[];
  /** By path, in the order in which they attached. Nodes of this sentinel first. */
  nodes: ReadonlyMap<string, NodeView>;
  /** The nodes of the other sentinels. */
  remote: ReadonlyMap<string, NodeView>;
  /** Time of the last update, in ms since the epoch. */
  t: number;
}

type OwnState = Pick<FabricView, 'sentinel' | 'uplinks' | 'cluster'>;
type Changes = { t: number; nodes: NodeView[]; gone: string[] };

type Line =
  | ({ type: 'snapshot'; nodes: NodeView[] } & OwnState)
  | ({ type: 'changes' } & Changes & OwnState)
  /** Nodes of other sentinels: all of them if `isComplete`, otherwise those that changed. */
  | ({ type: 'members'; isComplete: boolean; missing: string[] } & Changes);

/** The fabric; undefined until the first snapshot. It keeps its last value while the stream reconnects. */
export const fabricView = signal<FabricView | undefined>(undefined);
/** The error of the stream; undefined while it is open. */
export const fabricError = signal<unknown>(undefined);

/** Applies one line of the stream to the view. */
export function applyLine(view: FabricView | undefined, line: Line, now: number): FabricView | undefined {
  if (line.type === 'snapshot') {
    const { sentinel, uplinks, cluster } = line;
    const remote = (cluster && view?.remote) ?? new Map();
    const nodes = new Map([...line.nodes.map((node) => [node.path, node] as const), ...remote]);
    return { sentinel, uplinks, cluster, missing: view?.missing ?? [], nodes, remote, t: now };
  }
  if (view === undefined) return undefined;
  const nodes = changed(view.nodes, line);
  if (line.type === 'changes') {
    const { sentinel, uplinks, cluster, t } = line;
    return { ...view, sentinel, uplinks, cluster, nodes, t };
  }
  const { isComplete, missing, t } = line;
  const remote = changed(isComplete ? new Map() : view.remote, line);
  if (isComplete) for (const path of view.remote.keys()) if (!remote.has(path)) nodes.delete(path);
  return { ...view, missing, nodes, remote, t };
}

function changed(nodes: FabricView['nodes'], { gone, nodes: changes }: Changes): Map<string, NodeView> {
  const next = new Map(nodes);
  for (const path of gone) next.delete(path);
  for (const node of changes) next.set(node.path, node);
  return next;
}

/** Path of the sentinel of a node: the sentinel of the page, or another one of its cluster. */
export function sentinelOf({ sentinel, cluster }: OwnState, path: string): string {
  const all = [...(cluster?.members ?? []), ...(cluster?.lost ?? [])];
  return all.find((member) => path.startsWith(`${member.path}/`))?.path ?? sentinel.path;
}

/** The stream of changes. Needs the permission Watch. Use it with `useSource(nodesSource)`. */
export const nodesSource = sharedSource(() => {
  // Counters from before a pause would count as the traffic of one second.
  fabricView.value = undefined;
  return followLines<Line>('/fame/v1/nodes?follow=true&scope=cluster', {
    onLines: (lines) => {
      fabricView.value = lines.reduce(
        (view: FabricView | undefined, line) => applyLine(view, line, Date.now()),
        fabricView.value,
      );
    },
    onState: (error) => {
      fabricError.value = error;
    },
  });
});
