// The agents of the fabric with their descriptions.
import { type AgentDescription, agentAddressOf } from '@fame-fabric/shared';

import { signal } from '@preact/signals';
import { requestJson } from './api.ts';
import { client } from './connection.ts';
import { mayWatch } from './session.ts';

/** An address, with the answer of its agent to `describe` or the error of that call. */
export interface CatalogueEntry {
  address: string;
  /** Chat agents add their model, their tools and their settings. */
  description?: AgentDescription & Readonly<Record<string, unknown>>;
  error?: unknown;
}

/** The agents in the order of their addresses; undefined until they are loaded. */
export const catalogue = signal<readonly CatalogueEntry[] | undefined>(undefined);
export const catalogueError = signal<unknown>(undefined);

const DESCRIBE_TIMEOUT_MS = 5_000;
/** Calls of `describe` at the same time. */
const CONCURRENCY = 16;

/**
 * The addresses of the agents at all sentinels: those of a pool without its `*.`, and none of single replicas. A principal that cannot watch
 * gets those that the http door lists for it.
 */
async function readAddresses(): Promise<string[]> {
  if (mayWatch.value) {
    const { nodes } = await requestJson<{ nodes: { addresses: string[] }[] }>('/fame/v1/nodes?scope=cluster');
    const agents = nodes.flatMap(({ addresses }) => addresses.flatMap((one) => agentAddressOf(one) ?? []));
    return [...new Set(agents)].sort();
  }
  const { agents } = await requestJson<{ agents: { address: string }[] }>('/agents');
  return agents.map(({ address }) => address).sort();
}

/** Loads the addresses and asks each agent for its description. Entries appear as their agents answer. */
export async function loadCatalogue(): Promise<void> {
  const connected = client.value;
  if (connected === undefined) return;
  try {
    const addresses = await readAddresses();
    catalogueError.value = undefined;
    const known = new Map(catalogue.value?.map((entry) => [entry.address, entry]));
    catalogue.value = addresses.map((address) => known.get(address) ?? { address });
    const waiting = [...addresses];
    const work = async (): Promise<void> => {
      for (let address = waiting.shift(); address !== undefined; address = waiting.shift()) {
        const entry = await describe(connected, address);
        catalogue.value = catalogue.value?.map((one) => (one.address === entry.address ? entry : one));
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, work));
  } catch (error) {
    catalogueError.value = error;
  }
}

async function describe(
  connected: NonNullable<typeof client.value>,
  address: string,
): Promise<CatalogueEntry> {
  try {
    const description = await connected.call<NonNullable<CatalogueEntry['description']>>(
      address,
      'describe',
      {},
      { timeoutMs: DESCRIBE_TIMEOUT_MS },
    );
    return { address, description };
  } catch (error) {
    return { address, error };
  }
}
