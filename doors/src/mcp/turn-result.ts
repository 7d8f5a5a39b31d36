// Results of turns.
import type { DoneEvent, PendingApproval } from '@fame-fabric/client';
import { howToAnswer } from './approvals.ts';
import type { TurnIds } from './ids.ts';
import { META } from './results.ts';
import type { CallToolResult } from './sdk.ts';

/** JSON Schema of the structured content of a turn. */
export const TURN_SCHEMA = Object.freeze({
  type: 'object' as const,
  properties: {
    agent: { type: 'string', description: 'Address of the agent.' },
    conversation_id: { type: 'string', description: 'Pass it with the next message of the conversation.' },
    turn_id: { type: 'string' },
    state: { type: 'string', description: 'completed, or input-required while the turn waits for a person.' },
    answer: { type: 'string' },
    finish: {
      type: 'string',
      description: 'Why the model ended its reply, such as stop, length or tool_calls.',
    },
    tool_calls: { type: 'array', items: { type: 'object' } },
    usage: { type: 'object' },
    cost: {},
    approvals: { type: 'array', items: { type: 'object' } },
  },
  required: ['agent', 'conversation_id', 'turn_id', 'state', 'answer'],
});

export const metaOf = ({ conversationId, turnId }: TurnIds): Record<string, string> => ({
  [META.conversationId]: conversationId,
  [META.turnId]: turnId,
});

/** The result of a turn that completed. */
export const doneResult = (ids: TurnIds, done: Omit<DoneEvent, 'type' | 'seq'>): CallToolResult => ({
  content: [{ type: 'text', text: done.text }],
  structuredContent: {
    ...idsOf(ids),
    state: 'completed',
    answer: done.text,
    ...(done.finish ? { finish: done.finish } : {}),
    ...(done.tool_calls ? { tool_calls: done.tool_calls } : {}),
    ...(done.usage ? { usage: done.usage } : {}),
    ...(done.cost === undefined ? {} : { cost: done.cost }),
  },
  _meta: metaOf(ids),
});

/** The result of a turn that waits for a person, for a client without forms. */
export const waitingResult = (
  ids: TurnIds,
  approvals: readonly PendingApproval[],
  answerTool: string,
): CallToolResult => ({
  content: [{ type: 'text', text: howToAnswer(approvals, answerTool) }],
  structuredContent: { ...idsOf(ids), state: 'input-required', answer: '', approvals: [...approvals] },
  _meta: metaOf(ids),
});

const idsOf = ({ address, conversationId, turnId }: TurnIds): Record<string, string> => ({
  agent: address,
  conversation_id: conversationId,
  turn_id: turnId,
});
