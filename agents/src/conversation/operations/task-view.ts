// A conversation as a task of the Fame wire: reading start parameters from a task, and building the task of a conversation.
import {
  FabricError,
  firstData,
  type Message,
  type Task,
  type TaskSendParams,
  textMessage,
} from '@fame-fabric/shared';
import { z } from 'zod';
import type { ModelMessage } from '../../model/model.ts';
import { OPENING_REQUEST } from '../../turn/history.ts';
import { CONVERSATION_LIMITS, type ConversationOptions } from '../conversation.ts';
import type { ConversationView } from '../reading/conversation-reader.ts';
import { isoTime } from '../reading/recorded-event.ts';
import { startMessages } from '../start/start-messages.ts';

const { maxIdChars, maxPrincipalChars, maxShares, maxSystemPromptChars, maxHistoryLength } =
  CONVERSATION_LIMITS;

export const conversationId = z.string().min(1).max(maxIdChars);

const principalId = z.string().min(1).max(maxPrincipalChars);
/** Owner of the conversation, for a caller that may use several with one id. */
export const owner = principalId.optional();
/** Principals that may use a conversation beside its owner: a list, or `['*']` for every caller. */
const share = z
  .array(principalId)
  .max(maxShares)
  .refine((all) => all.length < 2 || !all.includes('*'), '"*" is every principal, so give it alone.');

const settings = {
  system_prompt: z.string().max(maxSystemPromptChars).nullish(),
  max_history_length: z.int().min(0).max(maxHistoryLength).nullish(),
  turn_policy: z.enum(['queue', 'reject', 'interrupt']).nullish(),
  on_budget: z.enum(['fail', 'ask']).nullish(),
};
const payload = z.looseObject(settings);
export type StartPayload = z.output<typeof payload>;

/** Parameters of `start_task`: an id, and the settings beside it or in `payload`. */
export const startTaskParams = z.object({
  id: conversationId.nullish(),
  payload: payload.nullish(),
  ...settings,
  messages: startMessages.nullish(),
  ephemeral: z.boolean().nullish(),
  historyLength: z.int().min(0).max(maxHistoryLength).nullish(),
  sessionId: z.string().max(maxIdChars).nullish(),
  share: share.nullish(),
});

/** Reads the settings in the first data part of `tasks/send`. @throws {PARAMS_INVALID} naming the invalid one */
export function payloadOf(params: TaskSendParams): StartPayload {
  const result = payload.safeParse(firstData(params.message) ?? {});
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new FabricError(
    'PARAMS_INVALID',
    `${issue.path.map(String).join('.')}: ${issue.message}`.slice(0, 500),
  );
}

/** Combines the given settings with the defaults. */
export function optionsOf(
  given: StartPayload,
  historyLength: number | null | undefined,
  defaults: ConversationOptions,
): ConversationOptions {
  const { system_prompt, max_history_length, turn_policy, on_budget, ...payload } = given;
  return {
    systemPrompt: system_prompt ?? defaults.systemPrompt,
    maxHistoryLength: Math.min(
      max_history_length ?? historyLength ?? defaults.maxHistoryLength,
      maxHistoryLength,
    ),
    turnPolicy: turn_policy ?? defaults.turnPolicy,
    onBudget: on_budget ?? defaults.onBudget ?? 'fail',
    ...(Object.keys(payload).length > 0 ? { payload } : {}),
  };
}

/** Builds the task of a conversation. Absent fields are null, as clients of the wire expect. */
export function taskOf(
  view: ConversationView,
  extra: { sessionId?: string | null | undefined; text?: string; history?: readonly Message[] } = {},
): Task {
  return {
    id: view.publicId,
    sessionId: extra.sessionId ?? view.publicId,
    status: {
      state: view.state,
      message: {
        role: 'agent',
        parts: [{ type: 'text', text: extra.text ?? '', metadata: null }],
        metadata: null,
      },
      timestamp: isoTime(view.changedAt),
    },
    artifacts: null,
    history: extra.history ? [...extra.history] : null,
    metadata: null,
  };
}

/** Returns the last `limit` messages that people see: without tools and without the opening request. */
export function visibleMessages(messages: readonly ModelMessage[], limit: number): Message[] {
  const visible: Message[] = [];
  for (const message of messages) {
    if (message.role === 'user' && message.content !== OPENING_REQUEST) {
      visible.push(textMessage('user', message.content));
    } else if (message.role === 'assistant' && message.content) {
      visible.push(textMessage('agent', message.content));
    }
  }
  return limit > 0 ? visible.slice(-limit) : [];
}
