// Statistics of the agents that keep some: the answers to their operation `read_statistics`.
import type { Client } from '@fame-fabric/client';
import { signal } from '@preact/signals';
import { type CatalogueEntry, catalogue, loadCatalogue } from '../../fabric/catalogue.ts';
import { client } from '../../fabric/connection.ts';
import { sharedSource } from '../../fabric/shared-source.ts';
import type { AgentSample } from './charts.ts';

export interface AgentStatistics {
  readonly address: string;
  readonly intervalMs: number;
  /** Oldest first. */
  readonly samples: readonly AgentSample[];
  /** The error of the last call. The samples are those of the call before. */
  readonly error?: unknown;
}

const OPERATION = 'read_statistics';
const REPEAT_MS = 5_000;
const TIMEOUT_MS = 5_000;
/** Intervals after which the list of agents is read again. */
const CATALOGUE_ROUNDS = 12;
/** Agents whose statistics are read. */
const MAX_AGENTS = 50;

/** The statistics by agent; undefined until the first agents have described themselves. */
export const statistics = signal<readonly AgentStatistics[] | undefined>(undefined);

async function readAll(connected: Client): Promise<void> {
  const entries = catalogue.value;
  const addresses = entries
    ?.filter(hasStatistics)
    .map(({ address }) => address)
    .slice(0, MAX_AGENTS);
  // A node that does not answer must not delay the statistics of others.
  const isComplete = entries?.every(({ description, error }) => (description ?? error) !== undefined);
  if (addresses === undefined || (addresses.length === 0 && !isComplete)) return;
  const known = new Map(statistics.value?.map((one) => [one.address, one]));
  statistics.value = await Promise.all(
    addresses.map(async (address): Promise<AgentStatistics> => {
      try {
        const answer = await connected.call<{ interval_ms: number; samples: AgentSample[] }>(
          address,
          OPERATION,
          {},
          { timeoutMs: TIMEOUT_MS },
        );
        return { address, intervalMs: answer.interval_ms, samples: answer.samples };
      } catch (error) {
        return { ...(known.get(address) ?? { address, intervalMs: REPEAT_MS, samples: [] }), error };
      }
    }),
  );
}

/** The answer to `describe` may be anything, as that of a node that echoes each request. */
function hasStatistics({ description }: CatalogueEntry): boolean {
  const operations: unknown = description?.operations;
  return Array.isArray(operations) && operations.some((operation) => operation?.name === OPERATION);
}

/** Reads the statistics every 5 s. Use it with `useSource(statisticsSource)`. */
export const statisticsSource = sharedSource(() => {
  let round = 0;
  let isLoading = false;
  let isReading = false;
  const load = async (): Promise<void> => {
    isLoading = true;
    await loadCatalogue();
    isLoading = false;
    await read();
  };
  const read = async (): Promise<void> => {
    const connected = client.value;
    if (connected === undefined || isReading) return;
    isReading = true;
    await readAll(connected);
    isReading = false;
  };
  const onTick = (): void => {
    if (client.value !== undefined && !isLoading && round++ % CATALOGUE_ROUNDS === 0) void load();
    else void read();
  };
  // Begins as soon as the page is attached.
  const stop = client.subscribe(onTick);
  const timer = setInterval(onTick, REPEAT_MS);
  return () => {
    stop();
    clearInterval(timer);
  };
});
