// A fabric in one process, for scripts, notebooks and tests: a sentinel in memory, the agents on one link and a client on another. It
// opens no port and reads no environment. The fabric of `@fame-fabric/agents/testing` has no router.
import { type Agent, AgentWorker } from '@fame-fabric/agents';
import { ProcessStore } from '@fame-fabric/agents/internal';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { Client } from '@fame-fabric/client';
import { startMemorySentinel } from '@fame-fabric/sentinel/memory';
import { type Clock, Link, type LinkOptions, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import { LONGEST_TIMER_MS } from '@fame-fabric/shared/internal';
import { sidOf } from '@fame-fabric/shared/node';

/** Longest time that running calls may take when the fabric is closed, in ms. */
const DRAIN_MS = 1_000;

export interface InProcessOptions {
  /** The agents to serve. @default none */
  readonly agents?: readonly Agent[] | undefined;
  /** Directory of the conversations of agents that were given no store. One process may use it at a time. @default in memory */
  readonly dataDir?: string | undefined;
  /** @default none */
  readonly log?: Logger | undefined;
  readonly clock?: Clock | undefined;
}

/** A running fabric, which keeps the process alive. Close it with `close()` or `await using`. */
export interface InProcessFabric extends AsyncDisposable {
  /** Calls the agents. Its principal is `local`. */
  readonly client: Client;
  /** Serves further agents, on a link of their own. @throws the errors of `inProcess` */
  serve(agents: readonly Agent[]): Promise<void>;
  /** Stops the agents, after at most a second for running calls, closes the client and then the store. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a fabric in this process.
 * @throws {ADDRESS_IN_USE} if two agents have the same address; {STORE_UNAVAILABLE | STORE_SCHEMA} if the store cannot be opened;
 *   errors of the agents' `onStart`
 */
export async function inProcess({
  agents = [],
  dataDir,
  log = silentLog,
  clock = systemClock,
}: InProcessOptions = {}): Promise<InProcessFabric> {
  const sentinel = startMemorySentinel({ log, clock });
  const store =
    dataDir === undefined ? undefined : new ProcessStore(readAgentConfig({ FAME_DATA_DIR: dataDir }), log);
  const options: LinkOptions = { url: 'memory://in-process', dial: sentinel.dial, sidOf, log, clock };
  const workers: AgentWorker[] = [];
  const clientLink = new Link(options);
  // Without a socket, an open fabric would not keep the process alive.
  const keepAlive = systemClock.after(LONGEST_TIMER_MS, () => {}, { keepAlive: true });

  const serve = async (more: readonly Agent[]): Promise<void> => {
    const openStore = store?.open;
    const worker = new AgentWorker(more, { link: new Link(options), log, clock, openStore });
    await worker.start();
    workers.push(worker);
  };
  const stop = async (): Promise<void> => {
    // All at once, because they may call each other.
    await Promise.all(workers.map((worker) => worker.drain(DRAIN_MS)));
    await clientLink.close();
    sentinel.close();
    await store?.close();
    keepAlive.stop();
  };
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= stop();
    return closing;
  };

  try {
    if (agents.length > 0) await serve(agents);
    await clientLink.connect();
  } catch (error) {
    await close();
    throw error;
  }
  return { client: new Client(clientLink), serve, close, [Symbol.asyncDispose]: close };
}
