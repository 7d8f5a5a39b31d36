// The state of the cluster as one sentinel sees it.
import type { TraceListener } from '../http/trace.ts';
import type { Member } from './pair.ts';

export interface ClusterStatus {
  /** Name of the cluster. */
  readonly name: string;
  /** `alone` while the bus is not connected: only nodes of this sentinel can be reached. */
  readonly state: 'connected' | 'alone';
  /** Why the bus is not connected. */
  readonly reason?: string | undefined;
  /** True if owners of addresses are recorded, so that those of lost sentinels stay reserved. */
  readonly recordsOwners: boolean;
  /** The other sentinels that this one has a link to. */
  readonly members: readonly Member[];
}

/** The nodes of the other sentinels. */
export interface MemberNodes {
  /** Nodes as `GET /fame/v1/nodes` of their sentinels lists them. */
  readonly nodes: readonly unknown[];
  /** Ids of sentinels that did not answer in time. */
  readonly missing: readonly string[];
}

/** The cluster as the HTTP routes use it. */
export interface ClusterView {
  readonly status: ClusterStatus;
  /** Asks the other sentinels for their nodes, for at most 2 s. */
  nodes(): Promise<MemberNodes>;
  /** Adds a reader of the live traces of the other sentinels; returns a function that removes it. */
  watch(listener: TraceListener): () => void;
}
