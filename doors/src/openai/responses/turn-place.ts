// The place of a new response: the end of the previous response's conversation, a fork of it if other turns follow, or a new
// conversation.
import type { Conversation, Conversations } from '@fame-fabric/client';
import { FabricError, isFabricError, newId } from '@fame-fabric/shared';
import type { AgentCard } from '../../fabric/agent-card.ts';
import type { Visitor } from '../../fabric/door-fabric.ts';
import { refusesUnknown } from '../../shared/first-turn.ts';
import { newTurnId, type Retry, readTurnId } from '../../shared/retry-key.ts';
import { chatAgent } from '../models.ts';
import { invalid } from '../openai-error.ts';
import type { Continuations } from './continuations.ts';
import type { CreateRequest } from './create-request.ts';
import {
  conversationNotFound,
  previousNotFound,
  type ResponseRef,
  readConversationId,
  readResponseId,
} from './response-ids.ts';

export interface Place {
  readonly card: AgentCard;
  readonly conversation: Conversation;
  /** Starts the conversation, if that is left to the turn. */
  readonly start?: () => Promise<void>;
  readonly turn: string;
  /** True if the turn is the first one of its conversation. */
  readonly isNew: boolean;
  /** System message of the turn, if it differs from that of the conversation. */
  readonly systemMessage: string | undefined;
  /** Ends the claim on the previous response. Call it when the agent has accepted or refused the turn. */
  readonly release?: (() => void) | undefined;
}

/** The state of a door that places need. */
export interface PlaceContext {
  readonly continuations: Continuations;
  /** True for a response that is not stored and can be continued nevertheless. @default none */
  readonly isKept?: ((id: string) => boolean) | undefined;
}

/** Turns that the model receives: as many as an agent allows, because clients of this API expect the whole conversation. */
export const MAX_HISTORY_TURNS = 200;

/**
 * Finds or creates the conversation of a request.
 * @throws {PARAMS_INVALID | NO_ROUTE | CONVERSATION_UNKNOWN | TURN_IN_PROGRESS | OPERATION_UNSUPPORTED}
 */
export async function placeOf(
  visitor: Visitor,
  request: CreateRequest,
  retry: Retry,
  { continuations, isKept = () => false }: PlaceContext,
): Promise<Place> {
  const { previousId, conversation } = request;
  if (previousId !== undefined) {
    const previous = readResponseId(previousId);
    if (previous && (previous.isStored || isKept(previousId))) {
      return afterPrevious(visitor, request, { ...previous, id: previousId, continuations }, retry);
    }
    throw previousNotFound(previousId);
  }
  if (conversation !== undefined) return inConversation(visitor, request, conversation, retry);
  return inNewConversation(visitor, request, retry);
}

async function inNewConversation(visitor: Visitor, request: CreateRequest, retry: Retry): Promise<Place> {
  const { model, input, instructions, isStored } = request;
  const card = await chatAgent(visitor, model!);
  const { system, before } = input;
  const id = newId();
  const fresh = visitor.client.conversation(card.address, {
    id,
    systemPrompt: system,
    ...(before.length > 0 ? { messages: before } : {}),
    ...(isStored ? {} : { isEphemeral: true }),
    maxHistoryLength: MAX_HISTORY_TURNS,
  });
  const start = (): Promise<void> => fresh.start();
  if (!refusesUnknown(card)) await start();
  return {
    card,
    conversation: visitor.client.conversation(card.address, { id, isResumed: true }),
    ...(refusesUnknown(card) ? { start } : {}),
    turn: newTurnId(retry, true, id),
    isNew: true,
    systemMessage: instructions === undefined ? undefined : joined([instructions, system]),
  };
}

async function inConversation(
  visitor: Visitor,
  request: CreateRequest,
  given: string,
  retry: Retry,
): Promise<Place> {
  // An id of another door is the id of the conversation at the agent.
  const { agent, conversation: id } = readConversationId(given) ?? { agent: undefined, conversation: given };
  if (agent === undefined && request.model === undefined) throw invalid('model', 'is required.');
  const card = await agentOf(visitor, request, agent ?? request.model!);
  refuseAnswers(request);
  const conversations = visitor.client.conversations(card.address);
  const conversation = visitor.client.conversation(card.address, { id, isResumed: true });
  try {
    return {
      card,
      conversation,
      turn: newTurnId(retry, false),
      isNew: false,
      systemMessage: await systemMessageOf(conversations, card, id, request),
    };
  } catch (error) {
    throw isFabricError(error, 'CONVERSATION_UNKNOWN') ? conversationNotFound(given) : error;
  }
}

async function afterPrevious(
  visitor: Visitor,
  request: CreateRequest,
  previous: ResponseRef & { readonly id: string } & Pick<PlaceContext, 'continuations'>,
  retry: Retry,
): Promise<Place> {
  const card = await agentOf(visitor, request, previous.agent);
  refuseAnswers(request);
  const conversations = visitor.client.conversations(card.address);
  const { conversation: id, continuations } = previous;
  const response = JSON.stringify([visitor.principal, previous.id]);
  const release = request.isStored === previous.isStored ? continuations.claim(response, retry) : undefined;
  try {
    const end = await endOf(conversations, previous);
    const systemMessage = await systemMessageOf(conversations, card, id, request);
    if (release && (await isFree(conversations, id, end, retry))) {
      const conversation = visitor.client.conversation(card.address, { id, isResumed: true });
      return { card, conversation, turn: newTurnId(retry, false), isNew: false, systemMessage, release };
    }
    release?.();
    const isEphemeral = request.isStored ? undefined : true;
    const conversation = await conversations.fork(id, { at: previous.turn, isEphemeral });
    return { card, conversation, turn: newTurnId(retry, true, conversation.id), isNew: true, systemMessage };
  } catch (error) {
    release?.();
    const isUnknown = isFabricError(error, 'CONVERSATION_UNKNOWN') || isFabricError(error, 'TURN_UNKNOWN');
    throw isUnknown ? previousNotFound(previous.id) : error;
  }
}

/** The cursor of the end of a response. @throws {TURN_IN_PROGRESS} @throws {OPERATION_UNSUPPORTED} for an agent without cursors */
async function endOf(conversations: Conversations, { conversation, turn }: ResponseRef): Promise<number> {
  const report = await conversations.turn(conversation, turn);
  if (report.state === 'open' || report.state === 'input-required') {
    throw new FabricError(
      'TURN_IN_PROGRESS',
      'The previous response has not ended. Wait for its end, or cancel it.',
      {
        details: { param: 'previous_response_id' },
      },
    );
  }
  if (report.seq === undefined) {
    throw new FabricError(
      'OPERATION_UNSUPPORTED',
      `The agent ${conversations.address} cannot continue a response: its reports have no cursors. Update the agent.`,
    );
  }
  return report.seq;
}

/** True if no other turn follows. A repeated request may have made the turn that follows. */
async function isFree(
  conversations: Conversations,
  id: string,
  end: number,
  { key, count }: Retry,
): Promise<boolean> {
  const { events } = await conversations.readEvents(id, { after: end, limit: 1 });
  const [next] = events;
  if (next?.type !== 'turn') return next === undefined;
  return count > 0 && readTurnId(next.turn_id)?.key === key;
}

/** The agent of a conversation. @throws {PARAMS_INVALID} if the request names another one */
async function agentOf(visitor: Visitor, { model }: CreateRequest, address: string): Promise<AgentCard> {
  const card = await chatAgent(visitor, address);
  if (model === undefined || model === address) return card;
  const named = await chatAgent(visitor, model);
  if (named.address === card.address) return card;
  throw invalid(
    'model',
    `is ${named.address}, but the conversation is one of ${card.address}. Start a new one.`,
  );
}

function refuseAnswers({ input }: CreateRequest): void {
  if (input.before.length === 0) return;
  throw invalid(
    'input',
    'has messages of the assistant, which the conversation has already. Send the new items only.',
  );
}

/**
 * The system message of a turn in a conversation that exists: the instructions, the system messages that the conversation began with,
 * and those of the request. Instructions replace the agent's own system prompt.
 */
async function systemMessageOf(
  conversations: Conversations,
  { raw }: AgentCard,
  id: string,
  { instructions, input }: CreateRequest,
): Promise<string | undefined> {
  if (instructions === undefined && input.system === undefined) return undefined;
  const { events } = await conversations.readEvents(id, { limit: 1 });
  const [started] = events;
  const prompt = started?.type === 'started' ? started.system_prompt : undefined;
  const isReplaced = instructions !== undefined && prompt === raw.system_prompt;
  return joined([instructions, typeof prompt === 'string' && !isReplaced ? prompt : undefined, input.system]);
}

const joined = (parts: readonly (string | undefined)[]): string =>
  parts.filter((part) => part !== undefined).join('\n\n');
