// One session of an editor: a conversation with the agent. A turn outlives the editor; only `session/cancel` and `session/close` end it.
import type { Conversation, Conversations, DoneEvent } from '@fame-fabric/client';
import { FabricError, isFabricError, type Logger, newId } from '@fame-fabric/shared';
import { requestErrorOf } from './acp-errors.ts';
import { type ConversationHistory, endNote, type OpenTurn, readHistory } from './history.ts';
import { Permissions } from './permissions.ts';
import { textOfPrompt } from './prompt-text.ts';
import {
  type AgentContext,
  type ContentBlock,
  methods,
  type PromptResponse,
  RequestError,
  type SessionUpdate,
  type StopReason,
} from './sdk.ts';
import { TurnUpdates } from './turn-updates.ts';

export interface AcpSessionDeps {
  readonly client: AgentContext;
  readonly conversation: Conversation;
  readonly conversations: Conversations;
  /** Aborts when the editor disconnects. */
  readonly gone: AbortSignal;
  readonly model?: string | undefined;
  readonly log: Logger;
}

/** A turn that this session started or follows. */
interface RunningTurn {
  readonly turnId: string;
  readonly abort: AbortController;
}

export class AcpSession {
  readonly id: string;
  readonly #deps: AcpSessionDeps;
  readonly #permissions: Permissions;
  /** The turn of the prompt. */
  #prompt: RunningTurn | undefined;
  /** The turn that ran when the session was loaded. */
  #followed: RunningTurn | undefined;

  constructor(deps: AcpSessionDeps) {
    this.id = deps.conversation.id;
    this.#deps = deps;
    const { client, conversation, log } = deps;
    this.#permissions = new Permissions({ sessionId: this.id, client, conversation, log });
  }

  /** Starts the conversation at the agent. @throws {RequestError} */
  async start(): Promise<void> {
    try {
      await this.#deps.conversation.start();
    } catch (error) {
      throw requestErrorOf(error, this.id);
    }
  }

  /**
   * Reads the conversation, and follows a running turn: its updates are sent as they arrive, after this method has returned.
   * @param isShown true to send the history
   * @throws {RequestError} -32002 for an unknown conversation
   */
  async load(isShown: boolean): Promise<void> {
    let history: ConversationHistory;
    try {
      history = await readHistory(this.#deps.conversations, this.id);
    } catch (error) {
      throw requestErrorOf(error, this.id);
    }
    if (isShown) for (const update of history.updates) await this.#send(update);
    if (history.openTurn) void this.#follow(history.openTurn, history.after);
  }

  /** Runs a turn. @throws {RequestError} if a prompt is running, a part is not text, or the turn failed */
  async prompt(blocks: readonly ContentBlock[]): Promise<PromptResponse> {
    if (this.#prompt) {
      const text = 'A prompt is running in this session. Wait for its end, or cancel it';
      throw RequestError.invalidRequest({ code: 'TURN_IN_PROGRESS' }, text);
    }
    const text = textOfPrompt(blocks);
    const { conversation, model } = this.#deps;
    const turn: RunningTurn = { turnId: newId(), abort: new AbortController() };
    this.#prompt = turn;
    const updates = new TurnUpdates(turn.turnId);
    try {
      let done: DoneEvent | undefined;
      const events = conversation.stream(text, {
        turnId: turn.turnId,
        signal: turn.abort.signal,
        include: ['reasoning', 'waiting'],
        ...(model === undefined ? {} : { options: { model } }),
      });
      for await (const event of events) {
        for (const update of updates.of(event)) await this.#send(update);
        if (event.type === 'approval') void this.#permissions.ask(event);
        if (event.type === 'approval_answer') this.#permissions.withdraw(event.id);
        if (event.type === 'done') done = event;
      }
      return responseOf(turn.turnId, done);
    } catch (error) {
      if (turn.abort.signal.aborted || isFabricError(error, 'TURN_CANCELLED'))
        return { stopReason: 'cancelled', _meta: { 'fame/turnId': turn.turnId } };
      throw requestErrorOf(error, this.id);
    } finally {
      this.#prompt = undefined;
      this.#permissions.close();
    }
  }

  /** Cancels the turn of the prompt, or the followed turn. */
  cancel(): void {
    const reason = new FabricError('CALL_CANCELLED', 'The editor cancelled the turn');
    this.#permissions.close();
    if (this.#prompt) {
      this.#prompt.abort.abort(reason);
      return;
    }
    const { turnId } = this.#followed ?? {};
    if (turnId === undefined) return;
    this.#deps.conversation.cancel(turnId).catch((error: unknown) => {
      this.#deps.log.warn('the turn could not be cancelled', { error });
    });
  }

  async #follow({ turnId, updates, approvals }: OpenTurn, after: number): Promise<void> {
    const { conversations, gone, log } = this.#deps;
    const turn: RunningTurn = { turnId, abort: new AbortController() };
    this.#followed = turn;
    for (const approval of approvals) void this.#permissions.ask(approval);
    const signal = AbortSignal.any([gone, turn.abort.signal]);
    try {
      for await (const event of conversations.follow(this.id, { after, signal })) {
        if (!('turn_id' in event) || event.turn_id !== turnId) continue;
        for (const update of updates.of(event)) await this.#send(update);
        if (event.type === 'approval') void this.#permissions.ask(event);
        if (event.type === 'approval_answer') this.#permissions.withdraw(event.id);
        if (event.type === 'error') await this.#send(updates.note(endNote(event)));
        if (event.type === 'done' || event.type === 'error') return;
      }
    } catch (error) {
      if (!signal.aborted) log.warn('the running turn could not be followed', { error });
    } finally {
      this.#followed = undefined;
    }
  }

  /** Sends an update. A disconnected editor does not end the turn. */
  async #send(update: SessionUpdate): Promise<void> {
    const { client, gone } = this.#deps;
    if (gone.aborted) return;
    try {
      await client.notify(methods.client.session.update, { sessionId: this.id, update });
    } catch (error) {
      if (!gone.aborted) throw error;
    }
  }

  /** Ends the session, for `session/close`. The conversation stays. */
  close(): void {
    this.cancel();
    this.#followed?.abort.abort();
  }
}

const STOP_REASONS: Readonly<Record<string, StopReason>> = {
  length: 'max_tokens',
  content_filter: 'refusal',
  refusal: 'refusal',
};

function responseOf(turnId: string, done: DoneEvent | undefined): PromptResponse {
  const { finish = 'stop', usage, cost, model } = done ?? {};
  return {
    stopReason: STOP_REASONS[finish] ?? 'end_turn',
    _meta: {
      'fame/turnId': turnId,
      ...(usage ? { 'fame/usage': usage } : {}),
      ...(cost ? { 'fame/cost': cost } : {}),
      ...(model ? { 'fame/model': model } : {}),
    },
  };
}
