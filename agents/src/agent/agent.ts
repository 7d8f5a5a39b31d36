// Declares an agent: an address, its operations, its tasks. A declaration does nothing by itself; `serve` binds it to a link, and
// `served-agent.ts` answers the calls.
import { type AgentCard, parseAddress } from '@fame-fabric/shared';
import type { Agent, AgentOptions, Operations } from './agent-types.ts';
import { needsStore, ServedAgent } from './served-agent.ts';

/** Declares an agent. @throws {ADDRESS_INVALID} if its address does not follow the grammar */
export function defineAgent<const O extends Operations = Record<never, never>>(
  options: AgentOptions<O>,
): Agent<O> {
  const { participant } = parseAddress(options.address);
  const card = cardOf(options, options.name ?? participant);
  const agent: Agent<O> = {
    address: options.address,
    name: card.name,
    description: options.description,
    capabilities: options.capabilities ?? [],
    card,
    needsStore: needsStore(options) && options.store === undefined,
    async serve(link, serveOptions = {}) {
      const served = new ServedAgent(agent, options, link, serveOptions);
      await served.open();
      return served;
    },
  };
  return agent;
}

function cardOf(options: AgentOptions, name: string): AgentCard {
  const operations = Object.entries(options.operations ?? {});
  const hasTasks = options.tasks !== undefined;
  return {
    name,
    // Absent, not undefined: the card travels as JSON.
    ...(options.description ? { description: options.description } : {}),
    url: options.address,
    version: options.version ?? '1.0.0',
    capabilities: {
      streaming: hasTasks || operations.some(([, operation]) => operation.streams),
      pushNotifications: hasTasks,
      stateTransitionHistory: false,
    },
    defaultInputModes: ['text'],
    defaultOutputModes: ['text'],
    skills: operations
      .filter(([id]) => !id.includes('/'))
      .map(([id, { description, streams }]) => ({
        id,
        name: id,
        ...(description ? { description } : {}),
        ...(streams ? { tags: ['stream'] } : {}),
      })),
    ...options.card,
  };
}
