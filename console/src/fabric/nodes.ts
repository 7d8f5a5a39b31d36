// The nodes of the sentinel, kept current by its stream of changes while a screen shows them.
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

export interface FabricView {
  sentinel: SentinelView;
  /** Connections to a parent and to peers. */
  uplinks: readonly Readonly<Record<string, unknown>>[];
  /** By path, in the order in which they attached. */
  nodes: ReadonlyMap<string, NodeView>;
  /** Time of the last update, in ms since the epoch. */
  t: number;
}

type Line =
  | { type: 'snapshot'; sentinel: SentinelView; uplinks: FabricView['uplinks']; nodes: NodeView[] }
  | {
      type: 'changes';
      t: number;
      sentinel: SentinelView;
      uplinks: FabricView['uplinks'];
      nodes: NodeView[];
      gone: string[];
    };

/** The fabric; undefined until the first snapshot. It keeps its last value while the stream reconnects. */
export const fabricView = signal<FabricView | undefined>(undefined);
/** The error of the stream; undefined while it is open. */
export const fabricError = signal<unknown>(undefined);

/** Applies one line of the stream to the view. */
export function applyLine(view: FabricView | undefined, line: Line, now: number): FabricView | undefined {
  const { sentinel, uplinks } = line;
  if (line.type === 'snapshot') {
    return { sentinel, uplinks, nodes: new Map(line.nodes.map((node) => [node.path, node])), t: now };
  }
  if (view === undefined) return undefined;
  const nodes = new Map(view.nodes);
  for (const path of line.gone) nodes.delete(path);
  for (const node of line.nodes) nodes.set(node.path, node);
  return { sentinel, uplinks, nodes, t: line.t };
}

/** The stream of changes. Needs the permission Watch. Use it with `useSource(nodesSource)`. */
export const nodesSource = sharedSource(() => {
  // Counters from before a pause would count as the traffic of one second.
  fabricView.value = undefined;
  return followLines<Line>('/fame/v1/nodes?follow=true', {
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
