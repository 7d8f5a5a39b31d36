// A worker serves agents on one link: it connects, starts the agents in order and stops them. It owns the link. `run-agents.ts`
// handles the environment and the signals of a process.
import { type Clock, FabricError, type Link, type Logger, systemClock } from '@fame-fabric/shared';
import type { Agent, ServeOptions, Serving } from './agent-types.ts';

/** Time limit for the close after the drain, in ms: onStop hooks, the release of addresses, the socket. */
const CLOSE_MS = 5_000;

export interface WorkerDeps extends ServeOptions {
  link: Link;
  log: Logger;
  clock?: Clock | undefined;
}

export class AgentWorker {
  readonly #agents: readonly Agent[];
  readonly #deps: WorkerDeps;
  readonly #clock: Clock;
  #serving: Serving[] = [];
  #stopped: Promise<void> | undefined;

  /** @throws {ADDRESS_IN_USE} if two agents have the same address */
  constructor(agents: readonly Agent[], deps: WorkerDeps) {
    const addresses = agents.map(({ address }) => address);
    const duplicate = addresses.find((address, i) => addresses.indexOf(address) !== i);
    if (duplicate) {
      throw new FabricError(
        'ADDRESS_IN_USE',
        `Two agents of this worker have the address ${duplicate}; give each its own`,
      );
    }
    this.#agents = agents;
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
  }

  /**
   * Connects and serves every agent. If one cannot be served, the agents before it are stopped and the link is closed.
   * @throws the errors of `Link.connect` and `Link.bind`
   */
  async start({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { link, ...serveOptions } = this.#deps;
    try {
      await link.connect({ signal });
      for (const agent of this.#agents) {
        signal?.throwIfAborted();
        this.#serving.push(await agent.serve(link, serveOptions));
      }
    } catch (error) {
      await this.drain(0);
      throw error;
    }
  }

  /** Refuses new calls, waits at most `timeoutMs` for running ones, then stops the agents and closes the link. */
  drain(timeoutMs: number): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs);
    return this.#stopped;
  }

  async #stop(timeoutMs: number): Promise<void> {
    const { link, log } = this.#deps;
    // Drain all at once, because they may call each other.
    const draining = this.#serving.toReversed().map(async (serving) => {
      try {
        await serving.drain(timeoutMs);
      } catch (error) {
        log.error('agent failed to stop', { agent: serving.agent.address, error });
      }
    });
    this.#serving = [];
    const late = Promise.withResolvers<void>();
    const timer = this.#clock.after(timeoutMs + CLOSE_MS, late.resolve, { keepAlive: true });
    await Promise.race([Promise.all(draining), late.promise]);
    timer.stop();
    // The last answers may still be queued; the drain of the link flushes them.
    await link.drain(Math.min(1_000, timeoutMs));
  }
}
