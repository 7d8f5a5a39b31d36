// The agent that a path names.
import { FabricError } from '@fame-fabric/shared';
import { closestMatch, cutText } from '@fame-fabric/shared/internal';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';

/** @throws {NO_ROUTE} with the closest address that the caller may call */
export async function findAgent(visitor: Visitor, name: string): Promise<AgentCard> {
  const found = await visitor.agent(name);
  if (found !== undefined) return found;
  const agents = await visitor.agents();
  const sameName = agents.filter((agent) => agent.name === name).map(({ address }) => address);
  const shown = cutText(name, 128);
  if (sameName.length > 1) {
    throw new FabricError('NO_ROUTE', `Several agents have the name "${shown}": ${sameName.join(', ')}`, {
      retryable: false,
      details: { fix: 'Use the whole address.' },
    });
  }
  const near =
    closestMatch(
      name,
      agents.map(({ address }) => address),
    ) ??
    closestMatch(
      name,
      agents.map((agent) => agent.name),
    );
  throw new FabricError('NO_ROUTE', `There is no agent "${shown}" that you may call`, {
    details: { fix: near ? `Did you mean ${near}?` : 'GET /agents lists the agents.' },
  });
}
