// A prompt for each chat agent: clients show them as commands, such as `/mcp__fabric__chat`, with which a person addresses the agent.
import type { AgentCard } from '../fabric/agent-card.ts';
import { type GetPromptResult, type Prompt, ProtocolError, ProtocolErrorCode } from './sdk.ts';
import { longToolName, toolNames } from './tool-names.ts';
import { ASK_AGENT } from './tool-table.ts';

const ARGUMENTS = [{ name: 'message', description: 'The message to the agent.', required: true }];

/** The name of the prompt: the tool name of an operation with the agent's own name. */
const namesOf = (cards: readonly AgentCard[]) =>
  toolNames(
    cards
      .filter(({ isChat }) => isChat)
      .map(({ address, name, description }) => ({ address, operation: name, description })),
  );

export const listPrompts = (cards: readonly AgentCard[]): Prompt[] =>
  [...namesOf(cards)].map(([name, { address, description }]) => ({
    name,
    title: `Ask ${address}`,
    description: description ?? `Sends a message to the agent ${address}.`,
    arguments: ARGUMENTS,
  }));

/** @throws {ProtocolError} for an unknown prompt, or without a message */
export function getPrompt(
  cards: readonly AgentCard[],
  {
    name,
    arguments: { message = '' } = {},
  }: { name: string; arguments?: Record<string, string> | undefined },
): GetPromptResult {
  const names = namesOf(cards);
  const agent = names.get(name) ?? [...names.values()].find((ref) => longToolName(ref) === name);
  if (!agent) throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown prompt: ${name}`);
  if (message === '') throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'message: a text is required');
  const text = `Send this message to the agent ${agent.address} with the tool ${ASK_AGENT}, and give me its reply:\n\n${message}`;
  return { messages: [{ role: 'user', content: { type: 'text', text } }] };
}
