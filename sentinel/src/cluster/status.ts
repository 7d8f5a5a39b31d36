// The state of the cluster as one sentinel sees it.
import type { ServedAddress } from '@fame-fabric/shared/router';
import type { TraceListener } from '../http/trace.ts';
import type { NodeAction } from '../session/node-actions.ts';
import type { RemoteOutcome } from './member-actions.ts';
import type { ListItems } from './member-lists.ts';
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
  /** Sentinels whose link was lost within the last 10 minutes, and that did not leave in order. */
  readonly lost: readonly LostMember[];
}

export interface LostMember extends Member {
  /** Wall time of the loss, in ms since the epoch. */
  readonly lostAt: number;
}

/** The nodes of the other sentinels. */
export interface MemberNodes {
  /** Nodes by the id of their sentinel: for each path, the JSON text of the node as `GET /fame/v1/nodes` of its sentinel lists it. */
  readonly lists: ReadonlyMap<string, ListItems>;
  /** Ids of sentinels that did not answer in time. */
  readonly missing: readonly string[];
}

/** The cluster as the HTTP routes and the doors use it. */
export interface ClusterView {
  readonly status: ClusterStatus;
  /** Requests the nodes of the other sentinels, for at most 2 s. */
  nodes(): Promise<MemberNodes>;
  /** The addresses that nodes at the other sentinels serve. At most about a second old, unless a sentinel does not answer. */
  addresses(): Promise<readonly ServedAddress[]>;
  /** Runs an action on a node at another sentinel, for at most 2 s. Returns `undefined` if no linked sentinel has its path. */
  act(action: NodeAction): Promise<RemoteOutcome> | undefined;
  /** Adds a reader of the live traces of the other sentinels; returns a function that removes it. */
  watch(listener: TraceListener): () => void;
}
