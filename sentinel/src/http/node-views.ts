// The nodes of the sentinel as its HTTP routes describe them.
import type { Clock } from '@fame-fabric/shared';
import type { Bindings } from '../bindings.ts';
import type { ClusterStatus, ClusterView } from '../cluster/status.ts';
import type { Identity } from '../identity.ts';
import type { OpenCalls } from '../open-calls.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { UplinkStatus } from '../uplink/uplink.ts';

export interface NodeViewsDeps {
  identity: Identity;
  table: SessionTable;
  bindings: Bindings;
  calls: OpenCalls;
  budget: QueueBudget;
  clock: Clock;
  /** Monotonic time of the start, in ms. */
  startedAt: number;
  /** Connections to a parent and to peers. */
  uplinks: readonly { readonly status: UplinkStatus }[];
  /** @default this sentinel is in no cluster */
  cluster?: ClusterView | undefined;
}

export class NodeViews {
  readonly #deps: NodeViewsDeps;

  constructor(deps: NodeViewsDeps) {
    this.#deps = deps;
  }

  /** The sentinel, its uplinks, its cluster and all nodes. */
  list() {
    const { table } = this.#deps;
    return {
      sentinel: this.sentinel(),
      uplinks: this.uplinks(),
      cluster: this.cluster(),
      nodes: Array.from(table.all(), (session) => this.nodeOf(session)),
    };
  }

  /** The same with the nodes of the other sentinels of the cluster. */
  async listCluster() {
    const list = this.list();
    const { cluster } = this.#deps;
    if (cluster === undefined) return list;
    const { lists, missing } = await cluster.nodes();
    const others = [...lists.values()].flatMap((items) => [...items.values()].flatMap(parseNode));
    return {
      ...list,
      nodes: [...list.nodes, ...others],
      /** Ids of sentinels whose nodes are not listed, because they did not answer. */
      missing,
    };
  }

  sentinel() {
    const { budget, clock, identity, startedAt } = this.#deps;
    return {
      id: identity.id,
      path: identity.path,
      version: identity.software,
      uptimeMs: clock.monotonic() - startedAt,
      queues: {
        queuedBytes: budget.queuedBytes,
        socketBytes: budget.socketBytes,
        limitBytes: budget.queueBytes,
        totalLimitBytes: budget.queueTotalBytes,
      },
    };
  }

  cluster(): ClusterStatus | undefined {
    return this.#deps.cluster?.status;
  }

  uplinks(): UplinkStatus[] {
    return this.#deps.uplinks.map(({ status }) => status);
  }

  /** One node. Times are wall time in ms since the epoch, unless they are ISO 8601. */
  nodeOf(session: Session) {
    const { bindings, budget, calls, clock } = this.#deps;
    const { outbound, refusal, resumeEndsAt, terms } = session;
    return {
      id: session.systemId,
      path: session.path,
      kind: session.kind,
      state: session.state,
      /** True if the node gets no new calls, because an administrator drains it. */
      isDraining: session.isDraining,
      principal: terms.principal.id,
      /** Known of nodes of this software only. */
      software: terms.hasPairFlows ? 'fame-fabric' : undefined,
      since: new Date(session.startedAt).toISOString(),
      addresses: [...(bindings.addressesOf(session) ?? [])],
      capabilities: [...bindings.capabilitiesOf(session)],
      queuedMessages: outbound.messages,
      queuedBytes: outbound.bytes,
      withheldGrants: outbound.withheldGrants,
      openCalls: calls.madeCount(session),
      serving: calls.servingCount(session),
      /** Rest of the resume window of a node that is away, in ms. */
      resumeMs: session.state === 'detached' ? Math.max(0, resumeEndsAt - clock.monotonic()) : undefined,
      lastRefusal: refusal && { code: refusal.code, t: clock.now() - (clock.monotonic() - refusal.at) },
      /** Counts since the start of the session: `In` from the node, `Out` to it. */
      traffic: {
        messagesIn: session.received,
        bytesIn: session.receivedBytes,
        messagesOut: outbound.sent,
        bytesOut: outbound.sentBytes,
      },
      limits: { queueBytes: budget.queueBytes, openCalls: calls.maxOf(session) },
    };
  }
}

/** Parses a node that another sentinel has listed. Returns none if its text is not JSON. */
function parseNode(text: string): unknown[] {
  try {
    return [JSON.parse(text)];
  } catch {
    return [];
  }
}
