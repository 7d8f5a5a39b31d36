// The processes around one main sentinel, which all its cells share: agents and clients of every kind, a sentinel below it and a peer
// beside it of every kind.
import type { DrivenClient } from '../../kit/driven-client.ts';
import { reasonOf } from './exceptions.ts';
import {
  type Kind,
  type RunningAgents,
  type RunningSentinel,
  startAgents,
  startClient,
  startSentinel,
} from './kinds.ts';
import { LossyRelay } from './lossy-relay.ts';

export const addressOf = (agent: string, kind: Kind): string => `${agent}-${kind}@fame.fabric`;

const FIRST = ['math', 'work', 'receiver', 'analysis', 'chat'];
const SECOND = ['sender', 'summarizer', 'sentiment'];
const DURABLE = ['keeper', 'crashing'];

/** The processes of one kind in a fabric. */
export interface KindNodes {
  readonly first: RunningAgents;
  readonly second: RunningAgents;
  /** The members of the pool; the process ids are the answers of `whoami`. */
  readonly pool: readonly RunningAgents[];
  readonly durable: RunningAgents;
  client: DrivenClient;
  /** A client with the delivery profile `at-least-once`. */
  readonly persistent: DrivenClient;
}

export interface Fabric {
  readonly kind: Kind;
  readonly kinds: readonly Kind[];
  readonly sentinel: RunningSentinel;
  readonly nodes: ReadonlyMap<Kind, KindNodes>;
  /** Closes the relay. `stopAll` ends the processes. */
  close(): void;
}

const agentsOf = (names: readonly string[], kind: Kind): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, addressOf(name, kind)]));

export async function startFabric(kind: Kind, kinds: readonly Kind[]): Promise<Fabric> {
  const peerIds = kinds.map((peer) => `peer-${peer}`);
  const sentinel = await startSentinel(kind, { id: `sentinel-${kind}`, peerIds });
  const nodes = new Map<Kind, KindNodes>();
  const relay = await LossyRelay.to(sentinel.url);
  const { url } = sentinel;
  await Promise.all(
    kinds.map(async (each) => {
      const branches = [startBranch('biome', each, { parent: url })];
      const cell = { sentinel: kind, agent: each, client: each };
      if (!reasonOf('peers', cell)) branches.push(startBranch('peer', each, { peer: url }));
      nodes.set(each, await startNodes(each, url, relay.url));
      await Promise.all(branches);
    }),
  );
  return { kind, kinds, sentinel, nodes, close: () => relay.close() };
}

async function startNodes(kind: Kind, url: string, lossyUrl: string): Promise<KindNodes> {
  const agents = (id: string, names: Record<string, string>, options = {}) =>
    startAgents(kind, names, { url, id: `${id}-${kind}`, ...options });
  const pool = { math: addressOf('pool', kind) };
  const [first, second, one, two, durable, client, persistent] = await Promise.all([
    agents('first', agentsOf(FIRST, kind)),
    agents('second', { ...agentsOf(SECOND, kind), math: addressOf('spare', kind) }),
    agents('pool-1', pool, { isPool: true }),
    agents('pool-2', pool, { isPool: true }),
    agents('durable', agentsOf(DURABLE, kind), { isAtLeastOnce: true, isDurable: true }),
    startClient(kind, { url, id: `client-${kind}` }),
    startClient(kind, { url, id: `persistent-${kind}`, isAtLeastOnce: true }),
    agents('inbox', agentsOf(['inbox'], kind), { url: lossyUrl, isAtLeastOnce: true }),
  ]);
  return { first, second, pool: [one, two], durable, client, persistent };
}

/** Starts a sentinel that is connected to the main one, and an agent there. */
async function startBranch(
  name: string,
  kind: Kind,
  link: { parent?: string; peer?: string },
): Promise<void> {
  const id = `${name}-${kind}`;
  const { url } = await startSentinel(kind, { id, ...link });
  await startAgents(kind, { math: addressOf(name, kind) }, { url, id: `${id}-agent` });
}
