// The operations of every agent that has conversations, and the equivalent task methods. They are immediate, so they do not count
// towards the agent's limit on calls, because the host's inbox decides when a turn runs.
import {
  FabricError,
  isFabricError,
  isFinalState,
  type Message,
  type Task,
  type TaskSendParams,
  type TaskStatusUpdateEvent,
} from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import { type Operation, type OperationContext, operation } from '../agent/operation.ts';
import { taskQueryParams, taskSendParams } from '../agent/tasks/task-methods.ts';
import type { ModelMessage } from '../model/model.ts';
import { newestThatFit } from '../turn/newest-that-fit.ts';
import {
  CONVERSATION_LIMITS,
  type ConversationEvent,
  type ConversationOptions,
  textOf,
} from './conversation.ts';
import type { Answer, ConversationHost } from './host.ts';
import type { LiveTurn } from './live-turn.ts';
import { readingOperations } from './reading/reading-operations.ts';
import { messagesOf } from './start/start-messages.ts';
import {
  conversationId,
  optionsOf,
  payloadOf,
  type StartPayload,
  startTaskParams,
  taskOf,
  visibleMessages,
} from './task-view.ts';
import { forkParams, type TurnParams, turnId, turnParams } from './turn-params.ts';

/** Maximum bytes of messages in an answer, which must fit one envelope. The oldest messages are left out. */
const MAX_HISTORY_BYTES = 196_608;

export interface OperationsOptions {
  /** Options of a conversation where the caller gives none. */
  defaults: ConversationOptions;
  /** Returns the first message of a conversation, sent on behalf of the caller at its start. The task has the answer. */
  opening?: ((payload: Readonly<Record<string, unknown>>) => string | undefined) | undefined;
  /** Returns further payload from the call itself, such as counters in the envelope's metadata. */
  received?: ((context: OperationContext) => Readonly<Record<string, unknown>>) | undefined;
}

/** Builds the operations on the conversations of `host`. */
export function conversationOperations(
  host: ConversationHost,
  options: OperationsOptions,
): Record<string, Operation> {
  const immediate = true;
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
    },
    context: OperationContext,
  ): Promise<Task> => {
    const { callId } = context;
    const received = options.received?.(context);
    const settings = optionsOf({ ...given, ...received }, more.historyLength, options.defaults);
    const principal = await principalOf(context);
    const { messages, isEphemeral, sessionId, history } = more;
    const view = await host.start({ id, callId, principal, options: settings, messages, isEphemeral });
    const task = { sessionId, history };
    const userMessage = options.opening?.(settings.payload ?? {});
    if (userMessage === undefined) return taskOf(view, task);
    const turn = await host.turn({ conversationId: id, userMessage, turnId: `start-${callId}` });
    const text = textOf(await turn.outcome);
    return taskOf(await host.reads.get(id), { ...task, text });
  };

  const sendTask = async (params: TaskSendParams, context: OperationContext): Promise<Task> => {
    const { id, historyLength, sessionId, message } = params;
    return start(id, payloadOf(params), { historyLength, sessionId, history: [message] }, context);
  };

  async function* subscribe(id: string, signal: AbortSignal): AsyncGenerator<TaskStatusUpdateEvent, void> {
    const first = taskOf(await host.reads.get(id));
    if (!isFinalState(first.status.state)) {
      yield { id, status: first.status, final: false, metadata: null };
      if (!(await host.whenEnded(id, signal))) return;
    }
    yield { id, status: taskOf(await host.reads.get(id)).status, final: true, metadata: null };
  }

  return {
    start_task: operation({
      immediate,
      mayTakeLong,
      description: 'Starts a conversation and answers with its task.',
      params: startTaskParams,
      run(params, context) {
        const given = { ...params.payload, ...definedOf(params) } as StartPayload;
        const { historyLength, sessionId } = params;
        const messages = messagesOf(params.messages ?? []);
        const isEphemeral = params.ephemeral ?? false;
        const more = { historyLength, sessionId, history: [], messages, isEphemeral };
        return start(params.id ?? context.callId, given, more, context);
      },
    }),
    fork: operation({
      immediate,
      description:
        'Starts a conversation with the history of another one up to one of its turns, and answers with its task.',
      params: forkParams,
      async run({ conversation_id, at, id, model }, context) {
        const { callId } = context;
        const principal = await principalOf(context);
        return taskOf(
          await host.fork({
            conversationId: conversation_id,
            at,
            id: id ?? callId,
            callId,
            principal,
            model: model ?? undefined,
          }),
        );
      },
    }),
    run_turn: operation({
      immediate,
      mayTakeLong,
      description:
        'Sends a message to a conversation and answers with the whole reply, or with the report of the turn.',
      params: turnParams.extend({ answer: z.enum(['text', 'outcome']).default('text') }),
      async run({ answer, ...params }, context) {
        const turn = await acceptTurn(host, params, context, answer === 'outcome' ? { answer } : {});
        const outcome = await outcomeFor(host, turn, context.signal);
        // A turn that goes on in another process has no report yet, only the error that says so.
        return answer === 'outcome' && !turn.isReleased
          ? host.reads.report(turn.conversationId, turn.id)
          : textOf(outcome);
      },
    }),
    run_turn_stream: operation({
      immediate,
      description: 'Sends a message to a conversation and streams the reply as events.',
      params: turnParams.extend({ after: z.int().min(0).optional() }),
      async *run(params, context): AsyncGenerator<ConversationEvent, void> {
        const turn = await acceptTurn(host, params, context, { after: params.after });
        if (isRepeatedByLink(turn, params, context)) throw streamLost();
        const leaving = onLeave(host, turn, context.signal);
        try {
          yield* turn.follow(params.after ?? 0, context.signal);
        } finally {
          leaving.stop();
        }
      },
    }),
    cancel_turn: operation({
      immediate,
      mayTakeLong,
      description:
        'Cancels the running turn of a conversation, or the one with the given id. Returns false if there was none.',
      params: z.object({ conversation_id: conversationId, turn_id: turnId.optional() }),
      run: ({ conversation_id, turn_id }) => host.cancelTurn(conversation_id, turn_id),
    }),
    answer_approval: operation({
      immediate,
      mayTakeLong,
      description:
        'Approves or refuses a call that a turn asks about. The answer is durable when it returns.',
      params: z.object({
        conversation_id: conversationId,
        call_id: z.string().min(1).max(CONVERSATION_LIMITS.maxIdChars),
        approve: z.boolean(),
        note: z.string().max(CONVERSATION_LIMITS.maxNoteChars).optional(),
      }),
      async run({ conversation_id, call_id, approve, note }, context) {
        const principal = (await context.caller)?.principal ?? ANONYMOUS.id;
        await host.answerApproval({
          conversationId: conversation_id,
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
      mayTakeLong,
      description: 'Ends a conversation and its running turn.',
      params: z.object({ conversation_id: conversationId }),
      run: ({ conversation_id }) => host.end(conversation_id),
    }),
    get_history: operation({
      immediate,
      description: 'Returns the messages of a conversation that the model still receives.',
      params: z.object({ conversation_id: conversationId }),
      run: async ({ conversation_id }) =>
        newestThatFit(await host.reads.messages(conversation_id), MAX_HISTORY_BYTES),
    }),
    get_prompt: operation({
      immediate,
      description: 'Rebuilds the messages that a model received in one step of a turn.',
      params: z.object({ conversation_id: conversationId, turn_id: turnId, step: z.int().min(1) }),
      run: ({ conversation_id, turn_id, step }, { signal }) =>
        host.reads.prompt(conversation_id, turn_id, step, signal),
    }),
    ...readingOperations(host),
    'tasks/send': operation({
      immediate,
      mayTakeLong,
      params: taskSendParams,
      run: (params, context) => sendTask(params as TaskSendParams, context),
    }),
    'tasks/sendSubscribe': operation({
      immediate,
      params: taskSendParams,
      async *run(params, context) {
        try {
          await sendTask(params as TaskSendParams, context);
        } catch (error) {
          // Clients subscribe after tasks/send to the conversation that it started.
          if (!isFabricError(error, 'CONVERSATION_EXISTS')) throw error;
        }
        yield* subscribe(params.id, context.signal);
      },
    }),
    'tasks/resubscribe': operation({
      immediate,
      params: taskQueryParams,
      async *run({ id }, { signal }) {
        yield* asTask(subscribe(id, signal));
      },
    }),
    'tasks/sendUnsubscribe': operation({ immediate, params: taskQueryParams, run: () => null }),
    'tasks/get': operation({
      immediate,
      params: taskQueryParams,
      async run({ id, historyLength }) {
        try {
          const view = await host.reads.get(id);
          const history = visibleMessages(
            newestThatFit(await host.reads.messages(id), MAX_HISTORY_BYTES),
            historyLength ?? 0,
          );
          return taskOf(view, { history });
        } catch (error) {
          throw asTaskError(error);
        }
      },
    }),
    'tasks/cancel': operation({
      immediate,
      mayTakeLong,
      params: taskQueryParams,
      async run({ id }) {
        try {
          const { state } = await host.reads.get(id);
          if (isFinalState(state))
            throw new FabricError('TASK_NOT_CANCELABLE', `The task is ${state} already.`);
          await host.end(id, 'canceled');
          return taskOf(await host.reads.get(id));
        } catch (error) {
          throw asTaskError(error);
        }
      },
    }),
  };
}

/** Ids of links. */
const LINK_CALL_ID = /^[0-9A-Za-z]{16}$/;

/**
 * True if a link of version 0.1.0 sends its call again after an earlier process died. It skips as many items as it has received, but
 * the items of this process are others. Its client then continues from its cursor with a new call.
 */
const isRepeatedByLink = (turn: LiveTurn, { turn_id }: TurnParams, { callId }: OperationContext): boolean =>
  turn.streamCallId === callId && turn_id !== undefined && turn_id !== callId && LINK_CALL_ID.test(callId);

const streamLost = (): FabricError =>
  new FabricError(
    'NODE_GONE',
    'The agent was restarted during the stream. Ask again with the last `seq` as `after`.',
  );

async function acceptTurn(
  host: ConversationHost,
  params: TurnParams,
  context: OperationContext,
  { answer, after }: { answer?: Answer; after?: number | undefined } = {},
): Promise<LiveTurn> {
  const { callId, replyTo, isStream } = context;
  const { retry_key: key, retry_count: count } = params;
  return host.turn({
    conversationId: params.conversation_id,
    userMessage: params.user_message,
    turnId: params.turn_id ?? callId,
    after,
    options: params.options,
    toolResults: params.tool_results,
    retry: key === undefined ? undefined : { principal: await principalOf(context), key, count },
    answerTo: { replyTo, callId, isStream, ...(answer ? { answer } : {}) },
  });
}

const principalOf = async ({ caller }: OperationContext): Promise<string> =>
  (await caller)?.principal ?? ANONYMOUS.id;

// A caller that cancels its call cancels the turn, unless another caller follows it. A lost connection does not, because the caller
// may return for its answer. The end of this agent does not either: the next process finishes the turn.
function onLeave(host: ConversationHost, turn: LiveTurn, signal: AbortSignal): { stop(): void } {
  turn.listeners += 1;
  let isListening = true;
  const stop = (): void => {
    if (isListening) turn.listeners -= 1;
    isListening = false;
    signal.removeEventListener('abort', left);
  };
  const left = (): void => {
    // People may take longer to approve than their calls may last.
    const hasTimedOut = isFabricError(signal.reason, 'CALL_TIMEOUT');
    const isCancelled = isCancelledByCaller(signal.reason) && !(hasTimedOut && turn.approvals.size > 0);
    stop();
    if (isCancelled && turn.listeners === 0)
      host.cancelTurn(turn.conversationId, turn.id).catch(() => undefined);
  };
  if (signal.aborted) left();
  else signal.addEventListener('abort', left, { once: true });
  return { stop };
}

/** Abort reasons of lost connections and lost items, after which the caller may return for the rest. */
const LOSSES: ReadonlySet<unknown> = new Set(['caller-gone', 'link-closed', 'items-lost', 'bad-reply']);

/** True if the caller cancelled the call or its deadline has passed, false if its connection was lost or this agent stops. */
function isCancelledByCaller(reason: unknown): boolean {
  if (!isFabricError(reason)) return !LOSSES.has(reason);
  if (reason.code === 'CALL_TIMEOUT') return true;
  return reason.code === 'CALL_CANCELLED' && !LOSSES.has(reason.details?.reason);
}

async function outcomeFor(host: ConversationHost, turn: LiveTurn, signal: AbortSignal) {
  const leaving = onLeave(host, turn, signal);
  try {
    return await turn.outcome;
  } finally {
    leaving.stop();
  }
}

const definedOf = (params: z.output<typeof startTaskParams>): Partial<StartPayload> =>
  Object.fromEntries(
    (['system_prompt', 'max_history_length', 'turn_policy', 'on_budget'] as const)
      .map((key) => [key, params[key]] as const)
      .filter(([, value]) => value !== undefined && value !== null),
  );

const asTaskError = (error: unknown): unknown =>
  isFabricError(error, 'CONVERSATION_UNKNOWN')
    ? new FabricError('TASK_UNKNOWN', 'There is no task with that id.')
    : error;

async function* asTask<T>(events: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  try {
    yield* events;
  } catch (error) {
    throw asTaskError(error);
  }
}
