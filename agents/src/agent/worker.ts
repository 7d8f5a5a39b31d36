// A worker serves agents on one link: it connects, serves them in order, and takes them back in reverse. It owns the link;
// whose environment and signals these are is the business of `main.ts`.
import { type Clock, FabricError, type Link, type Logger, systemClock } from '@fame-fabric/shared';
import type { Agent, ServeOptions, Serving } from './agent-types.ts';

/** How long the end may take beyond the drain, in ms: onStop hooks, releasing addresses, closing the socket. */
const CLOSE_MS = 5_000;

export interface WorkerDeps extends ServeOptions {
  link: Link;
  log: Logger;
  clock?: Clock;
}

export class AgentWorker {
  readonly #agents: readonly Agent[];
  readonly #deps: WorkerDeps;
  readonly #clock: Clock;
  #serving: Serving[] = [];
  #stopped: Promise<void> | undefined;

  /** @throws {ADDRESS_IN_USE} when two agents have one address */
  constructor(agents: readonly Agent[], deps: WorkerDeps) {
    const addresses = agents.map(({ address }) => address);
    const twice = addresses.find((address, i) => addresses.indexOf(address) !== i);
    if (twice) throw new FabricError('ADDRESS_IN_USE', `Two agents of this worker have the address ${twice}`);
    this.#agents = agents;
    this.#deps = deps;
    this.#clock = deps.clock ?? systemClock;
  }

  /**
   * Connects and serves every agent. When one cannot be served, those before it are taken back and the link is closed.
   * @throws what `Link.connect` and `Link.bind` throw
   */
  async start({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const { link, ...serveOptions } = this.#deps;
    try {
      await link.connect(signal ? { signal } : {});
      for (const agent of this.#agents) {
        signal?.throwIfAborted();
        this.#serving.push(await agent.serve(link, serveOptions));
      }
    } catch (error) {
      await this.drain(0);
      throw error;
    }
  }

  /** Takes no new calls, lets running ones end for at most `timeoutMs`, then stops the agents and closes the link. */
  drain(timeoutMs: number): Promise<void> {
    this.#stopped ??= this.#stop(timeoutMs);
    return this.#stopped;
  }

  async #stop(timeoutMs: number): Promise<void> {
    const { link, log } = this.#deps;
    // All drain at once, since they may call each other; they close in reverse as far as they finish in time.
    const draining = this.#serving.toReversed().map(async (serving) => {
      try {
        await serving.drain(timeoutMs);
      } catch (error) {
        log.error('an agent did not stop as it should', { agent: serving.agent.address, error });
      }
    });
    this.#serving = [];
    const late = Promise.withResolvers<void>();
    const timer = this.#clock.after(timeoutMs + CLOSE_MS, late.resolve, { keepAlive: true });
    await Promise.race([Promise.all(draining), late.promise]);
    timer.stop();
    // The last answers are on their way: the link waits for its open calls, of which there are none but late ones.
    await link.drain(Math.min(1_000, timeoutMs));
  }
}
