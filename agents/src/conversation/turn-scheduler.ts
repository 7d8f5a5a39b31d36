// Schedules the accepted turns of all conversations: queues each one, runs it, and decides afterwards whether its conversation stays
// in memory.
import { type Clock, isFabricError, type Logger } from '@fame-fabric/shared';
import { untilAborted } from '@fame-fabric/shared/internal';
import type { Outbound } from '../agent/operation.ts';
import type { FailedTurnRule } from '../turn/history.ts';
import type { TurnRunner } from '../turn/turn.ts';
import { Inbox, type InboxEntry, type InboxOptions, type TurnPolicy } from './inbox.ts';
import type { LiveTurn } from './live-turn.ts';
import type { Conversation } from './loaded-conversation.ts';
import { type LoadedConversations, unknownConversation } from './loaded-conversations.ts';
import type { PrincipalQuotas } from './quotas.ts';
import type { ConversationBudget } from './spending.ts';
import { TurnRun } from './turn-run.ts';

export interface SchedulerDeps {
  runner: TurnRunner;
  /** Link of the agent. */
  link: Outbound;
  budget: ConversationBudget;
  quotas: PrincipalQuotas;
  conversations: LoadedConversations;
  clock: Clock;
  log: Logger;
  /** Aborts when the agent begins to stop. */
  stopping: AbortSignal;
  /** Called when a turn has ended the conversation with this id. */
  onEnded(id: string): void;
}

export interface SchedulerOptions extends InboxOptions {
  /** Time limit of one turn, in ms. @default 600_000 */
  turnTimeoutMs?: number | undefined;
  /** Time that a cancelled turn has to stop by itself, in ms. @default 2_000 */
  graceMs?: number | undefined;
  /** Rule for keeping failed turns in the history. @default 'auto' */
  failedTurns?: FailedTurnRule | undefined;
}

export class TurnScheduler {
  /** Time limit of one turn, in ms. */
  readonly turnTimeoutMs: number;
  readonly #deps: SchedulerDeps;
  readonly #options: SchedulerOptions;
  readonly #inbox: Inbox;

  constructor(deps: SchedulerDeps, options: SchedulerOptions) {
    this.turnTimeoutMs = options.turnTimeoutMs ?? 600_000;
    this.#deps = deps;
    this.#options = options;
    this.#inbox = new Inbox(options);
  }

  /** Checks that a conversation may have another turn. @throws {TURN_IN_PROGRESS | TURN_QUEUE_FULL} */
  check(conversationId: string, policy: TurnPolicy): void {
    this.#inbox.check(conversationId, policy);
  }

  /** Runs an accepted turn as soon as it gets a slot. A turn that is aborted while it waits ends at once. */
  schedule(conversation: Conversation, turn: LiveTurn, policy: TurnPolicy): void {
    const { id } = conversation;
    const run = async (): Promise<void> => {
      turn.signal.removeEventListener('abort', onAbort);
      conversation.running = turn;
      await this.#runOf(conversation, turn, entry).run();
      conversation.running = undefined;
      this.#afterTurn(conversation);
    };
    const endNow = (): void =>
      void this.#runOf(conversation, turn, entry)
        .run()
        .then(() => this.#afterTurn(conversation));
    const onAbort = (): void => {
      if (this.#inbox.withdraw(entry)) endNow();
    };
    const entry: InboxEntry = {
      key: id,
      weight: conversation.chars + turn.userMessage.length,
      run,
      cancel: (reason) => turn.abort(reason),
    };
    if (turn.signal.aborted) {
      endNow();
      return;
    }
    turn.signal.addEventListener('abort', onAbort, { once: true });
    this.#inbox.put(entry, policy);
  }

  #runOf(conversation: Conversation, turn: LiveTurn, entry: InboxEntry): TurnRun {
    return new TurnRun(this.#deps, conversation, turn, {
      turnTimeoutMs: this.turnTimeoutMs,
      graceMs: this.#options.graceMs ?? 2_000,
      failedTurns: this.#options.failedTurns ?? 'auto',
      isLast: () => !conversation.open.some((other) => other !== turn),
      onIdle: () => {
        this.#inbox.suspend(entry);
        conversation.firstWait.resolve();
        if (this.#deps.stopping.aborted) this.#deps.conversations.releaseWaiting();
      },
      onBusy: () => untilAborted(this.#inbox.resume(entry), turn.signal),
    });
  }

  #afterTurn(conversation: Conversation): void {
    const { conversations, log, onEnded } = this.#deps;
    conversation.trim();
    if (conversation.phase === 'ended') {
      const { open } = conversation;
      // The task is completed, so the turns that still wait are refused.
      for (const turn of open) turn.abort(unknownConversation());
      if (open.length > 0) return;
      conversations.drop(conversation);
      onEnded(conversation.id);
      return;
    }
    if (conversation.journal.failure !== undefined) {
      const { failure: error } = conversation.journal;
      const fields = { conversation_id: conversation.publicId, error };
      // A conflict means an old turn id or another process. The next request loads the conversation again.
      if (isFabricError(error, 'STORE_CONFLICT')) log.debug('a conversation will be loaded again', fields);
      else log.error('a conversation could not be written', fields);
      conversations.drop(conversation);
      return;
    }
    conversations.evict(conversation);
  }
}
