// A conversation as a store for `useSyncExternalStore`, without React. It works while it has listeners; `session.ts` has the connection.
// The messages come from the events of the conversation only, so every page on it shows the same, whichever page sent a message.
import type { Client, Conversation, ConversationOptions } from '@fame-fabric/client';
import { type Clock, FabricError, isFabricError, newId, systemClock, type Timer } from '@fame-fabric/shared';
import { errorMessage } from '@fame-fabric/shared/internal';
import { type BudgetPart, type Message, type MessageError, Messages, type ToolPart } from './messages.ts';
import { Session } from './session.ts';

/**
 * - `connecting`: nothing has been read yet.
 * - `ready`: the agent answers.
 * - `away`: the sentinel or the agent does not answer. The store tries again until it does.
 * - `ended`: the conversation has ended and takes no more messages.
 * - `failed`: another attempt would fail too; `error` has the reason. `retry` starts over.
 */
export type ConversationStatus = 'connecting' | 'ready' | 'away' | 'ended' | 'failed';

/** A tool call or a used-up budget that waits for a person. */
export type Approval = (ToolPart | BudgetPart) & {
  /** True while the answer of this page is on its way. */
  readonly isAnswering: boolean;
};

/** The state of a conversation at one time. Immutable. */
export interface ConversationView {
  readonly conversationId: string;
  /** Oldest first. The last one grows while an answer streams. At most those of the last 500 turns. */
  readonly messages: readonly Message[];
  readonly approvals: readonly Approval[];
  readonly status: ConversationStatus;
  /** True from `send` to the end of the answer. */
  readonly isAnswering: boolean;
  /** Why the status is `away` or `failed`, or why the last action failed. */
  readonly error: MessageError | undefined;
}

/** Settings of a conversation, which apply if its first message starts it. */
export type ConversationSettings = Pick<
  ConversationOptions,
  'systemPrompt' | 'maxHistoryLength' | 'messages' | 'isEphemeral' | 'onBudget'
>;

export interface ConversationStoreOptions {
  /** Address of a chat agent, such as `chat@fame.fabric`. */
  address: string;
  /** Returns a connected client. Called once in each session, and again after LINK_TIMEOUT. */
  connect: () => Promise<Client>;
  /** True if the caller closes the client. @default false */
  isShared?: boolean | undefined;
  /** At most 256 characters. @default a new random id */
  conversationId?: string | undefined;
  settings?: ConversationSettings | undefined;
  clock?: Clock | undefined;
}

/** Shortest time between two notifications about events, in ms: a stream may have hundreds of them per second. */
const FRAME_MS = 16;

/** The store of one conversation. */
export class ConversationStore {
  readonly #options: ConversationStoreOptions;
  readonly #id: string;
  readonly #clock: Clock;
  readonly #messages = new Messages();
  readonly #listeners = new Set<() => void>();
  /** Ids of the approvals that this page is answering. */
  readonly #answering = new Set<string>();
  /** The messages that this page is sending, by turn. */
  readonly #sending = new Map<string, AbortController>();
  #session: Session | undefined;
  #status: Exclude<ConversationStatus, 'ended'> = 'connecting';
  #error: MessageError | undefined;
  #view: ConversationView;
  #frame: Timer | undefined;
  #stopTimer: Timer | undefined;

  constructor(options: ConversationStoreOptions) {
    this.#options = options;
    this.#id = options.conversationId ?? newId();
    this.#clock = options.clock ?? systemClock;
    this.#view = this.#newView();
  }

  readonly getSnapshot = (): ConversationView => this.#view;

  /** Adds a listener. The first one starts the store. The store stops when the last one is removed. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stopTimer?.stop();
    if (!this.#session) this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      // Strict mode removes the listener and adds it again at once. That should not cost a connection.
      this.#stopTimer = this.#clock.after(0, () => this.#stop());
    };
  };

  /** Sends a message. It is shown at once, and reaches the agent as soon as there is a connection. */
  readonly send = (text: string): void => {
    const turnId = newId();
    this.#messages.send(turnId, text);
    this.#sendTurn(turnId, text);
    this.#notify();
  };

  /** Cancels a turn, by default the one that is running. */
  readonly cancel = (turnId?: string): void => {
    const target = turnId ?? this.#unfinished?.turnId;
    if (target === undefined) return;
    if (this.#messages.isAccepted(target)) void this.#act((conversation) => conversation.cancel(target));
    else this.#sending.get(target)?.abort(cancelled());
  };

  /** Answers an approval. `id` is that of an entry of `approvals`; the model reads the note. */
  readonly answerApproval = (id: string, approve: boolean, note?: string): void => {
    if (this.#answering.has(id)) return;
    this.#answering.add(id);
    this.#notify();
    void this.#act((conversation) => conversation.answerApproval(id, { approve, note })).finally(() => {
      this.#answering.delete(id);
      this.#notify();
    });
  };

  /** Connects again if the status is `failed`, and sends the last message again if its turn has failed or was cancelled. */
  readonly retry = (): void => {
    if (this.#status === 'failed') {
      this.#stop();
      if (this.#listeners.size > 0) this.#start();
    }
    const messages = this.#messages.all;
    const last = messages.at(-1);
    if (last?.state !== 'failed' && last?.state !== 'cancelled') return;
    const message = messages.findLast(({ role, turnId }) => role === 'user' && turnId === last.turnId);
    if (message?.role !== 'user') return;
    this.#messages.remove(last.turnId);
    this.send(message.text);
  };

  #start(): void {
    const { connect, isShared = false, address, settings } = this.#options;
    this.#setStatus('connecting');
    const session = new Session({
      connect,
      isShared,
      newConversation: (client) => client.conversation(address, { ...settings, id: this.#id }),
      messages: this.#messages,
      clock: this.#clock,
      onChange: () => {
        this.#frame ??= this.#clock.after(FRAME_MS, () => this.#notify());
      },
      onStatus: (status, error) => this.#setStatus(status, error),
    });
    this.#session = session;
    void session.run();
    // A stop interrupted them. The agent runs a turn id once.
    for (const { turnId, text } of this.#messages.unsent) this.#sendTurn(turnId, text);
  }

  #stop(): void {
    this.#session?.stop();
    this.#session = undefined;
    this.#frame?.stop();
    this.#frame = undefined;
  }

  #sendTurn(turnId: string, text: string): void {
    const session = this.#session;
    if (!session) return; // the next session sends it
    const cancel = new AbortController();
    this.#sending.set(turnId, cancel);
    session
      .sendTurn(turnId, text, cancel.signal)
      .catch((error: unknown) => {
        if (this.#session !== session) return;
        this.#messages.fail(turnId, messageError(error));
        this.#notify();
      })
      .finally(() => {
        if (this.#sending.get(turnId) === cancel) this.#sending.delete(turnId);
      });
  }

  /** Acts on the conversation, and shows the error if that fails. */
  async #act(action: (conversation: Conversation) => Promise<void>): Promise<void> {
    const session = this.#session;
    if (!session) return;
    try {
      await action(await session.conversation());
    } catch (error) {
      if (this.#session !== session) return;
      this.#error = messageError(error);
      this.#notify();
    }
  }

  #setStatus(status: Exclude<ConversationStatus, 'ended'>, error?: unknown): void {
    this.#status = status;
    this.#error = error === undefined ? undefined : messageError(error);
    this.#notify();
  }

  #notify(): void {
    this.#frame?.stop();
    this.#frame = undefined;
    this.#view = this.#newView();
    for (const listener of this.#listeners) listener();
  }

  /** The first message whose turn has not ended. */
  get #unfinished(): Message | undefined {
    return this.#messages.all.find(
      ({ state }) => state === 'sending' || state === 'running' || state === 'waiting',
    );
  }

  #newView(): ConversationView {
    const messages = this.#messages.all;
    const waiting = messages.flatMap((message) =>
      message.role === 'assistant' && message.state === 'waiting' ? message.parts : [],
    );
    return {
      conversationId: this.#id,
      messages,
      approvals: waiting.flatMap((part) =>
        part.type !== 'text' && part.state === 'waiting'
          ? [{ ...part, isAnswering: this.#answering.has(part.id) }]
          : [],
      ),
      status: this.#messages.hasEnded ? 'ended' : this.#status,
      isAnswering: this.#unfinished !== undefined,
      error: this.#error,
    };
  }
}

const cancelled = (): FabricError =>
  new FabricError('TURN_CANCELLED', 'The message was cancelled before it was sent');

/** Describes an error. The outer message of a failed connection has advice for processes, so its cause is used. */
function messageError(error: unknown): MessageError {
  const { code, cause } = isFabricError(error) ? error : { code: 'INTERNAL', cause: undefined };
  const source = code === 'LINK_TIMEOUT' && isFabricError(cause) ? cause : error;
  return { code, message: errorMessage(source) };
}
