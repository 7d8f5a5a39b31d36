// Statistics of the agents that keep some: the answers to their operation `read_statistics`.
import type { Client } from '@fame-fabric/client';
import { signal } from '@preact/signals';
import { catalogue, loadCatalogue } from '../../fabric/catalogue.ts';
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
const CATALOGUE_ROUNDS = 6;
/** Agents whose statistics are read. */
const MAX_AGENTS = 50;

/** The statistics by agent; undefined until the list of agents is loaded. */
export const statistics = signal<readonly AgentStatistics[] | undefined>(undefined);

async function readAll(connected: Client): Promise<void> {
  const entries = catalogue.value ?? [];
  // An agent that has not described itself yet may have statistics.
  if (entries.some(({ description, error }) => description === undefined && error === undefined)) return;
  const addresses = entries
    .filter(({ description }) => description?.operations.some(({ name }) => name === OPERATION))
    .map(({ address }) => address)
    .slice(0, MAX_AGENTS);
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

/** Reads the statistics every 5 s. Use it with `useSource(statisticsSource)`. */
export const statisticsSource = sharedSource(() => {
  let round = 0;
  let isReading = false;
  const read = async (): Promise<void> => {
    const connected = client.value;
    if (connected === undefined || isReading) return;
    isReading = true;
    try {
      if (round++ % CATALOGUE_ROUNDS === 0) await loadCatalogue();
      await readAll(connected);
    } finally {
      isReading = false;
    }
  };
  // Begins as soon as the page is attached.
  const stop = client.subscribe(() => void read());
  const timer = setInterval(() => void read(), REPEAT_MS);
  return () => {
    stop();
    clearInterval(timer);
  };
});
