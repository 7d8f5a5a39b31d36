// `/v1/models`: the chat agents that the caller may use.
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { modelNotFound } from './openai-error.ts';

interface Model {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
}

/** An agent has no date of creation, and clients expect a number. */
const CREATED = 0;

const modelOf = ({ address }: AgentCard): Model => ({
  id: address,
  object: 'model',
  created: CREATED,
  owned_by: 'fame-fabric',
});

export async function listModels(visitor: Visitor): Promise<{ object: 'list'; data: Model[] }> {
  const agents = await visitor.agents();
  return { object: 'list', data: agents.filter(({ isChat }) => isChat).map(modelOf) };
}

/** @throws {NO_ROUTE} model_not_found */
export async function getModel(visitor: Visitor, name: string): Promise<Model> {
  return modelOf(await chatAgent(visitor, name));
}

/**
 * Finds the chat agent that a client names as its model. An agent that cannot describe itself may be one.
 * @throws {NO_ROUTE} model_not_found
 */
export async function chatAgent(visitor: Visitor, name: string): Promise<AgentCard> {
  const agent = await visitor.agent(name);
  if (agent && (agent.isChat || !agent.isDescribed)) return agent;
  throw modelNotFound(name, await fixOf(visitor, agent));
}

async function fixOf(visitor: Visitor, agent: AgentCard | undefined): Promise<string> {
  if (agent) return `${agent.address} is not a chat agent. Its operations are at /agents/${agent.address}.`;
  const hasModel = (await visitor.agents()).some(({ isChat }) => isChat);
  if (hasModel) return 'GET /v1/models lists the models.';
  return 'No chat agent that you may call is attached. `npx fame-fabric agent` starts one.';
}
