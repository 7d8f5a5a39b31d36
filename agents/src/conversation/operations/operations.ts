// The operations of every agent that has conversations, and the equivalent task methods. They are immediate, so they do not count
// towards the agent's limit on calls, because the host's inbox decides when a turn runs.
import { isFabricError, type Message, type Task, type TaskSendParams } from '@fame-fabric/shared';
import { z } from 'zod';
import { identifiedCaller } from '../../agent/identified-caller.ts';
import { type Operation, type OperationContext, operation } from '../../agent/operation.ts';
import type { ModelMessage } from '../../model/model.ts';
import { MAX_ANSWER_BYTES, newestThatFit } from '../../turn/newest-that-fit.ts';
import {
  CONVERSATION_LIMITS,
  type ConversationEvent,
  type ConversationOptions,
  textOf,
} from '../conversation.ts';
import type { ConversationHost } from '../host.ts';
import { readingOperations } from '../reading/reading-operations.ts';
import { messagesOf } from '../start/start-messages.ts';
import type { ProgressEvent } from '../turn-progress.ts';
import { taskOperations } from './task-operations.ts';
import {
  conversationId,
  optionsOf,
  owner,
  payloadOf,
  type StartPayload,
  startTaskParams,
  taskOf,
} from './task-view.ts';
import { acceptTurn, isRepeatedByLink, outcomeFor, reached, streamLost } from './turn-calls.ts';
import { forkParams, include, turnId, turnParamsOf } from './turn-params.ts';
import { TurnStream } from './turn-stream.ts';

export interface OperationsOptions {
  /** Options of a conversation where the caller gives none. */
  defaults: ConversationOptions;
  /** Returns the first message of a conversation, sent on behalf of the caller at its start. The task has the answer. */
  opening?: ((payload: Readonly<Record<string, unknown>>) => string | undefined) | undefined;
  /** Longest message of a user in characters, at most 200_000. @default 65_536 */
  maxMessageChars?: number | undefined;
  /** Returns further payload from the call itself, such as counters in the envelope's metadata. */
  received?: ((context: OperationContext) => Readonly<Record<string, unknown>>) | undefined;
}

/** Builds the operations on the conversations of `host`. @throws RangeError if `maxMessageChars` is out of range */
export function conversationOperations(
  host: ConversationHost,
  options: OperationsOptions,
): Record<string, Operation> {
  const { maxUserMessageChars, maxUserMessageLimit } = CONVERSATION_LIMITS;
  const { maxMessageChars = maxUserMessageChars } = options;
  if (!Number.isInteger(maxMessageChars) || maxMessageChars < 1 || maxMessageChars > maxUserMessageLimit) {
    throw new RangeError(
      `maxMessageChars is ${maxMessageChars}. It must be a whole number from 1 to ${maxUserMessageLimit}.`,
    );
  }
  const turnParams = turnParamsOf(maxMessageChars);
  const immediate = true;
  // The journal stores their requests and recognizes repeated ones.
  const journals = true;
  // These wait: for a turn, for its end, or for another process that holds the conversation.
  const mayTakeLong = true;

  /** Starts a conversation, runs its opening turn if it has one, and returns the task with the answer. */
  const start = async (
    id: string,
    given: StartPayload,
    more: {
      historyLength?: number | null | undefined;
      sessionId?: string | null | undefined;
      history: Message[];
      messages?: ModelMessage[];
      isEphemeral?: boolean;
      sharedWith?: readonly string[];
    },
    context: OperationContext,
  ): Promise<Task> => {
    const { callId } = context;
    const received = options.received?.(context);
    const settings = optionsOf({ ...given, ...received }, more.historyLength, options.defaults);
    const { principal, limits } = await identifiedCaller(context);
    const { messages, isEphemeral, sharedWith, sessionId, history } = more;
    const view = await host.start({
      id,
      callId,
      principal,
      sharedWith,
      options: settings,
      messages,
      isEphemeral,
    });
    context.acknowledge?.();
    const task = { sessionId, history };
    const userMessage = options.opening?.(settings.payload ?? {});
    if (userMessage === undefined) return taskOf(view, task);
    const turn = await host.turn({
      conversationId: view.id,
      principal,
      limits,
      userMessage,
      turnId: `start-${callId}`,
    });
    const text = textOf(await turn.outcome);
    return taskOf(await host.reads.get(view.id), { ...task, text });
  };

  const sendTask = async (params: TaskSendParams, context: OperationContext): Promise<Task> => {
    const { id, historyLength, sessionId, message } = params;
    return start(id, payloadOf(params), { historyLength, sessionId, history: [message] }, context);
  };

  return {
    start_task: operation({
      immediate,
      journals,
      mayTakeLong,
      description: 'Starts a conversation and returns its task.',
      params: startTaskParams,
      run(params, context) {
        const given = { ...params.payload, ...definedOf(params) } as StartPayload;
        const { historyLength, sessionId } = params;
        const messages = messagesOf(params.messages ?? []);
        const isEphemeral = params.ephemeral ?? false;
        const sharedWith = params.share ?? [];
        const more = { historyLength, sessionId, history: [], messages, isEphemeral, sharedWith };
        return start(params.id ?? context.callId, given, more, context);
      },
    }),
    fork: operation({
      immediate,
      journals,
      description:
        'Starts a conversation with the history of another one, up to one of its turns, and returns its task.',
      params: forkParams,
      async run({ at, id, model, ephemeral, ...named }, context) {
        const { callId } = context;
        const { principal } = await identifiedCaller(context);
        return taskOf(
          await host.fork({
            conversationId: await reached(host, named, context),
            at,
            id: id ?? callId,
            callId,
            principal,
            model: model ?? undefined,
            isEphemeral: ephemeral ?? false,
          }),
        );
      },
    }),
    run_turn: operation({
      immediate,
      journals,
      mayTakeLong,
      description:
        'Sends a message to a conversation and returns the whole reply, or the report of the turn.',
      params: turnParams.extend({ answer: z.enum(['text', 'outcome']).default('text'), owner }),
      async run({ answer, ...params }, context) {
        const turn = await acceptTurn(host, params, context, answer === 'outcome' ? { answer } : {});
        const outcome = await outcomeFor(host, turn, context.signal);
        // A turn that continues in another process has no report yet, only an error.
        return answer === 'outcome' && !turn.isReleased
          ? host.reads.report(turn.conversationId, turn.id)
          : textOf(outcome);
      },
    }),
    run_turn_stream: operation({
      immediate,
      journals,
      description: 'Sends a message to a conversation and streams the reply as events.',
      params: turnParams.extend({ after: z.int().min(0).optional(), include: include.optional(), owner }),
      streams: true,
      async run(params, context): Promise<AsyncIterable<ConversationEvent | ProgressEvent>> {
        const turn = await acceptTurn(host, params, context, { after: params.after });
        if (isRepeatedByLink(turn, params, context)) throw streamLost();
        return new TurnStream(host, turn, context.signal, params);
      },
    }),
    cancel_turn: operation({
      immediate,
      journals,
      mayTakeLong,
      description:
        'Cancels the running turn of a conversation, or the one with the given id. Returns false if there was none.',
      params: z.object({ conversation_id: conversationId, turn_id: turnId.optional(), owner }),
      run: async ({ turn_id, ...named }, context) =>
        host.cancelTurn(await reached(host, named, context), turn_id),
    }),
    answer_approval: operation({
      immediate,
      journals,
      mayTakeLong,
      description:
        'Approves or refuses a call that waits for approval. The answer is durable when the operation returns.',
      params: z.object({
        conversation_id: conversationId,
        call_id: z.string().min(1).max(CONVERSATION_LIMITS.maxIdChars),
        approve: z.boolean(),
        note: z.string().max(CONVERSATION_LIMITS.maxNoteChars).optional(),
        owner,
      }),
      async run({ call_id, approve, note, ...named }, context) {
        const { principal } = await identifiedCaller(context);
        await host.answerApproval({
          conversationId: await reached(host, named, context),
          callId: call_id,
          approve,
          note: note === '' ? undefined : note,
          principal,
        });
        return null;
      },
    }),
    end_conversation: operation({
      immediate,
      journals,
      mayTakeLong,
      description: 'Ends a conversation and its running turn.',
      params: z.object({ conversation_id: conversationId, owner }),
      run: async (named, context) => {
        try {
          await host.end(await reached(host, named, context));
        } catch (error) {
          if (!isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
        }
      },
    }),
    get_history: operation({
      immediate,
      description: 'Returns the messages of a conversation that the model still receives.',
      params: z.object({ conversation_id: conversationId, owner }),
      run: async (named, context) =>
        newestThatFit(await host.reads.messages(await reached(host, named, context)), MAX_ANSWER_BYTES),
    }),
    get_prompt: operation({
      immediate,
      description: 'Rebuilds the messages that a model received in one step of a turn.',
      params: z.object({ conversation_id: conversationId, turn_id: turnId, step: z.int().min(1), owner }),
      run: async ({ turn_id, step, ...named }, context) =>
        host.reads.prompt(await reached(host, named, context), turn_id, step, context.signal),
    }),
    ...readingOperations(host),
    ...taskOperations(host, sendTask),
  };
}

const definedOf = (params: z.output<typeof startTaskParams>): Partial<StartPayload> =>
  Object.fromEntries(
    (['system_prompt', 'max_history_length', 'turn_policy', 'on_budget'] as const)
      .map((key) => [key, params[key]] as const)
      .filter(([, value]) => value !== undefined && value !== null),
  );
