// Agents on a fabric in memory, for tests of agents that call each other: real links, and no sentinel process, socket or port.
import { Link, silentLog } from '@fame-fabric/shared';
import { ScriptedSentinel } from '@fame-fabric/shared/testing';
import type { Agent, ServeOptions } from '../agent/agent-types.ts';
import { AgentWorker } from '../agent/worker.ts';

export interface TestFabric extends AsyncDisposable {
  /** Calls the agents, as a client does. Pass it as `link` to tools and teams that run by themselves. */
  readonly link: Link;
  /** Stops the agents and closes the link. */
  close(): Promise<void>;
}

/**
 * Serves agents in memory. To replace an agent by a fake one, serve another one with its address:
 * `testFabric([shopAgent, defineAgent({ address: 'stock@fame.fabric', operations })])`.
 * @throws {ADDRESS_IN_USE} if two agents have the same address; and errors of their `onStart`
 */
export async function testFabric(
  agents: readonly Agent[],
  { log = silentLog, ...options }: ServeOptions = {},
): Promise<TestFabric> {
  const { dial } = new ScriptedSentinel();
  const link = new Link({ url: 'memory://test', dial });
  const worker = new AgentWorker(agents, { ...options, link, log });
  await worker.start();
  const close = (): Promise<void> => worker.drain(0);
  return { link, close, [Symbol.asyncDispose]: close };
}
