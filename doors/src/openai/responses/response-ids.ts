// Ids of responses and conversations. A response is a turn; its id names the agent, the conversation and the turn.
import { FabricError } from '@fame-fabric/shared';
import { decodeId, encodeId } from '../../shared/opaque-id.ts';
import type { TurnPlace } from './resource.ts';

export interface ResponseRef extends TurnPlace {
  readonly isStored: boolean;
  readonly isBackground: boolean;
}

const RESPONSE = 'resp_';
const CONVERSATION = 'conv_';

export function responseId({ agent, conversation, turn, isStored, isBackground }: ResponseRef): string {
  const flags = `${isStored ? '' : 'e'}${isBackground ? 'b' : ''}`;
  return encodeId(RESPONSE, { agent, conversation, turn, extra: flags === '' ? undefined : flags });
}

/** Reads the id of a response; undefined for an id that no door has issued. */
export function readResponseId(id: string): ResponseRef | undefined {
  const { agent, conversation, turn, extra = '' } = decodeId(RESPONSE, id) ?? {};
  if (agent === undefined || conversation === undefined || turn === undefined) return undefined;
  if (!['', 'e', 'b', 'eb'].includes(extra)) return undefined;
  return { agent, conversation, turn, isStored: !extra.includes('e'), isBackground: extra.includes('b') };
}

export const conversationId = (agent: string, conversation: string): string =>
  encodeId(CONVERSATION, { agent, conversation });

/** Reads the id of a conversation; undefined for an id that no door has issued. */
export function readConversationId(id: string): { agent: string; conversation: string } | undefined {
  const read = decodeId(CONVERSATION, id);
  return read && read.turn === undefined && read.extra === undefined ? read : undefined;
}

/** Builds the error for a response that does not exist, is not stored, or belongs to another principal. */
export const responseNotFound = (id: string): FabricError =>
  new FabricError('TURN_UNKNOWN', `Response with id '${id.slice(0, 200)}' not found.`, {
    retryable: false,
    details: { param: 'response_id' },
  });

/** Builds the error for an unusable `previous_response_id`. The code is that of the Open Responses specification. */
export const previousNotFound = (id: string): FabricError =>
  new FabricError('PARAMS_INVALID', `Previous response with id '${id.slice(0, 200)}' not found.`, {
    details: { param: 'previous_response_id', openAiCode: 'previous_response_not_found' },
  });

/** Builds the error for a conversation that does not exist or belongs to another principal. */
export const conversationNotFound = (id: string): FabricError =>
  new FabricError('CONVERSATION_UNKNOWN', `Conversation with id '${id.slice(0, 200)}' not found.`, {
    retryable: false,
    details: { param: 'conversation' },
  });
