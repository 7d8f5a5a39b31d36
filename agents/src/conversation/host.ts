// Hosts the conversations of an agent: one outcome for each turn id, one turn at a time in each conversation, every queue bounded,
// and every event except text durable before it is shown. The runner does the work of a turn (`turn/turn.ts`), `turn-run.ts` runs
// it from start to end, `turn-scheduler.ts` decides when, and the agent decides which callers it serves.
import { isDeepStrictEqual } from 'node:util';
import {
  type Clock,
  FabricError,
  isFabricError,
  type Logger,
  silentLog,
  systemClock,
  type Timer,
} from '@fame-fabric/shared';
import { errorMessage, type SpendingLimits, tableCode } from '@fame-fabric/shared/internal';
import type { IdentifiedCaller } from '../agent/identified-caller.ts';
import type { Outbound } from '../agent/operation.ts';
import { noLink } from '../agent/scoped-link.ts';
import { noUsage } from '../model/usage.ts';
import { fenceOf } from '../store/cursor.ts';
import {
  type ConversationStore,
  isEndedState,
  type JournalEvent,
  type Peek,
  type RetryRequest,
  type TurnRecord,
} from '../store/store.ts';
import { NO_OBSERVER, type TurnObserver } from '../telemetry/turn-observer.ts';
import { TurnStatistics } from '../telemetry/turn-statistics.ts';
import { openCallsOf, resultsFault } from '../turn/foreign-calls.ts';
import { checkModel, checkOptions, NO_OPTIONS } from '../turn/option-bounds.ts';
import type { TurnRunner } from '../turn/turn.ts';
import { type ToolResult, type TurnOptions, withModel } from '../turn/turn-options.ts';
import {
  type AnswerRequest,
  checkMayAnswer,
  checkRecordedAnswer,
  recordAnswer,
  unknownApproval,
} from './approval/answer-approval.ts';
import { EndWaiters } from './end-waiters.ts';
import { superseded } from './inbox.ts';
import { acceptedOf, type Bodies } from './journal/journal.ts';
import { LiveTurn, TurnReleased } from './live-turn.ts';
import { type Conversation, type Totals, turnOf } from './loaded-conversation.ts';
import { LoadedConversations, unknownConversation } from './loaded-conversations.ts';
import { PrincipalQuotas } from './quotas.ts';
import {
  ConversationReader,
  type ConversationView,
  mustBeText,
  viewOf,
} from './reading/conversation-reader.ts';
import { Recovery } from './recovery.ts';
import { Placement } from './replica/placement.ts';
import type { ForkRequest, RecoveredTurn, StartRequest, TurnRequest } from './requests.ts';
import { type RetryKey, RetryKeys } from './retry-keys.ts';
import { type BudgetLimits, ConversationBudget, noSpending } from './spending.ts';
import { startOfFork } from './start/fork.ts';
import { type SchedulerOptions, TurnScheduler } from './turn-scheduler.ts';

export interface HostDeps {
  runner: TurnRunner;
  store: ConversationStore;
  /** Address of the agent; conversations of others in the same store are not touched. */
  agent: string;
  /** Calls other agents for the tools. @default each use fails with LINK_MISSING */
  link?: Outbound | undefined;
  clock?: Clock | undefined;
  log?: Logger | undefined;
  /** Observes the turns. @default none */
  observer?: TurnObserver | undefined;
  /** Called with the outcome of a turn that an earlier process accepted. */
  onRecovered?: ((turn: RecoveredTurn) => void) | undefined;
}

export interface HostOptions extends SchedulerOptions {
  /** Maximum tokens of the window. @default no limit */
  maxWindowTokens?: number | undefined;
  budget?: BudgetLimits | undefined;
  /** Limits of each principal whose sentinel states none, except `local`. @default none */
  quotas?: SpendingLimits | undefined;
  /** Most tokens of one reply, which a model call reserves of a quota. @default 4_096 */
  maxAnswerTokens?: number | undefined;
  /** Maximum number of idle conversations in memory; the others are loaded again on demand. @default 1_000 */
  maxIdle?: number | undefined;
  /** Maximum size of the loaded conversations, in characters of their windows and last turns. @default 67_108_864 */
  maxIdleChars?: number | undefined;
  /** Duration of the lease on a conversation, in ms; it is renewed while turns run. @default 15_000 */
  leaseMs?: number | undefined;
  /** Longest wait for another process to release a conversation, in ms. @default 20_000 */
  leaseWaitMs?: number | undefined;
  /**
   * True if other processes serve the same agent and pass calls to each other. Leases are then short, and conversations that another
   * process holds are refused at once. @default false
   */
  isReplica?: boolean | undefined;
}

/** Lease of a replica, in ms. Stores notice a dead process sooner; the lease of one that is paused or cut off must expire. */
const REPLICA_LEASE_MS = 5_000;
/** Pause between two polls of the store for the end of a conversation that another replica may end, in ms. */
const END_POLL_MS = 1_000;

export class ConversationHost {
  /** Reads conversations without acquiring them. */
  readonly reads: ConversationReader;
  /** The processes that hold conversations. Undefined without other replicas. */
  readonly placement: Placement | undefined;
  /** The turns of the last 15 minutes. */
  readonly statistics: TurnStatistics;
  readonly #runner: TurnRunner;
  readonly #store: ConversationStore;
  readonly #agent: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #observer: TurnObserver;
  readonly #onRecovered: HostDeps['onRecovered'];
  readonly #leaseMs: number;
  readonly #budget: ConversationBudget;
  readonly #quotas: PrincipalQuotas;
  readonly #conversations: LoadedConversations;
  readonly #scheduler: TurnScheduler;
  readonly #recovery: Recovery;
  /** Reads of ended turns in progress, by conversation and turn: callers that repeat a request at once share one. */
  readonly #endedTurns = new Map<string, Promise<LiveTurn>>();
  /** Ends in progress, by conversation. */
  readonly #endings = new Map<string, Promise<void>>();
  readonly #endWaiters = new EndWaiters();
  readonly #retryKeys = new RetryKeys();
  #timers: Timer[] = [];
  #state: 'open' | 'closed' = 'open';
  /** Aborts when the agent begins to stop and waits for its running calls. */
  readonly #stopping = new AbortController();

  constructor(deps: HostDeps, options: HostOptions = {}) {
    this.#runner = deps.runner;
    this.#store = deps.store;
    this.#agent = deps.agent;
    this.#clock = deps.clock ?? systemClock;
    this.#log = deps.log ?? silentLog;
    this.#observer = deps.observer ?? NO_OBSERVER;
    this.statistics = new TurnStatistics(this.#clock);
    this.#onRecovered = deps.onRecovered;
    const { isReplica = false } = options;
    this.#leaseMs = options.leaseMs ?? (isReplica ? REPLICA_LEASE_MS : 15_000);
    this.#budget = new ConversationBudget(options.budget);
    this.#quotas = new PrincipalQuotas({
      store: this.#store,
      clock: this.#clock,
      budget: this.#budget,
      limits: options.quotas,
      answerTokens: options.maxAnswerTokens ?? 4_096,
    });
    this.#conversations = new LoadedConversations(
      {
        store: this.#store,
        agent: this.#agent,
        clock: this.#clock,
        log: this.#log,
        observer: this.#observer,
        onLoaded: (conversation, { open }) => {
          const turns = conversation.open;
          const isInterrupting = conversation.options.turnPolicy === 'interrupt';
          for (const [i, turn] of turns.entries()) {
            // A process may die between accepting a turn and cancelling the one that it supersedes.
            if (conversation.phase === 'ended') turn.abort(unknownConversation());
            else if (isInterrupting && i < turns.length - 1) turn.abort(superseded());
            this.#resume(conversation, turn, open[i]!);
          }
        },
      },
      {
        leaseMs: this.#leaseMs,
        leaseWaitMs: isReplica ? 0 : (options.leaseWaitMs ?? 20_000),
        // Another replica may run the next turn, so an idle conversation in memory would soon be out of date.
        maxIdle: isReplica ? 0 : (options.maxIdle ?? 1_000),
        maxIdleChars: options.maxIdleChars ?? 67_108_864,
        maxWindowTokens: options.maxWindowTokens,
      },
    );
    this.#scheduler = new TurnScheduler(
      {
        runner: this.#runner,
        link: deps.link ?? noLink,
        budget: this.#budget,
        quotas: this.#quotas,
        conversations: this.#conversations,
        clock: this.#clock,
        log: this.#log,
        stopping: this.#stopping.signal,
        onEnded: (id) => this.#notifyEnded(id),
      },
      options,
    );
    this.placement = isReplica
      ? new Placement({
          store: this.#store,
          conversations: this.#conversations,
          stopping: this.#stopping.signal,
        })
      : undefined;
    this.reads = new ConversationReader({
      store: this.#store,
      agent: this.#agent,
      runner: this.#runner,
      conversations: this.#conversations,
      clock: this.#clock,
      maxWindowTokens: options.maxWindowTokens,
      stopping: this.#stopping.signal,
      isShared: isReplica,
      checkOpen: () => this.#mustBeOpen(),
    });
    this.#recovery = new Recovery({
      store: this.#store,
      agent: this.#agent,
      conversations: this.#conversations,
      log: this.#log,
      clock: this.#clock,
      isShared: isReplica,
    });
  }

  /** Resumes the turns that earlier processes left open, now and periodically. @throws {STORE_UNAVAILABLE} */
  async open(): Promise<void> {
    // Fail at the start if the store cannot be searched.
    await this.#store.unfinished(this.#agent, 1);
    void this.#recoverLater();
    this.#timers = [
      this.#clock.every(this.#leaseMs / 3, () => {
        void this.#conversations.renew();
        this.#conversations.releaseDormant();
      }),
      this.placement === undefined
        ? this.#clock.every(this.#leaseMs, () => void this.#recoverLater())
        : this.#recovery.repeat((error) => this.#searchFailed(error)),
    ];
  }

  /** @throws {CONVERSATION_EXISTS} when another call started one with that id @throws {PARAMS_INVALID} */
  async start({ options, messages = [], ...request }: StartRequest): Promise<ConversationView> {
    return this.#create(request, {
      system_prompt: options.systemPrompt,
      max_history_length: options.maxHistoryLength,
      turn_policy: options.turnPolicy,
      ...(options.onBudget === 'ask' ? { on_budget: options.onBudget } : {}),
      ...(options.payload ? { payload: options.payload } : {}),
      ...(messages.length > 0 ? { messages } : {}),
    });
  }

  /**
   * Starts a conversation with the settings of another one and with its history up to one of its turns. Later turns of either do
   * not affect the other.
   * @throws {CONVERSATION_UNKNOWN | TURN_UNKNOWN}
   * @throws {PARAMS_INVALID} while the turn is open, and for a model that the agent does not offer
   * @throws {CONVERSATION_EXISTS} when another call started one with that id
   */
  async fork({ conversationId, at, model, ...request }: ForkRequest): Promise<ConversationView> {
    if (model !== undefined) checkModel(model, this.#runner.accepts ?? NO_OPTIONS, 'model');
    const { turn, publicId } = await this.reads.peek(conversationId, at);
    const start = await startOfFork(this.#store, { id: conversationId, publicId, turn });
    return this.#create(request, model === undefined ? start : { ...start, model });
  }

  async #create(
    { id, callId, principal = 'local', sharedWith, isEphemeral }: Omit<StartRequest, 'options' | 'messages'>,
    body: Bodies['conversation_started'],
  ): Promise<ConversationView> {
    mustBeText(id);
    const totals: Totals = { usage: noUsage(), spent: noSpending(), cost: this.#budget.noCost };
    const { messages = [], forked_from: from } = body;
    const started = { kind: 'conversation_started', at: this.#clock.now(), body: { ...body } } as const;
    const { created, record, fence } = await this.#store.create({
      id,
      agent: this.#agent,
      startCallId: callId,
      principal,
      sharedWith,
      isEphemeral,
      historyTurns: body.max_history_length,
      totals: { ...totals },
      // The caller owes the results of calls that the messages leave open.
      state: openCallsOf(messages).length > 0 ? 'input-required' : 'working',
      forkedFrom: from && { conversationId: from.conversation_id, turnId: from.turn_id },
      started,
      // The first turn usually follows soon in this process. With replicas, any of them may run it. Do not acquire
      // while a removed conversation with this id is in memory: both would have the first epoch, so the old one could write to the new one.
      isAcquired: this.placement === undefined && this.#conversations.owned(principal, id) === undefined,
    });
    if (!created && record.startCallId !== callId) {
      throw new FabricError('CONVERSATION_EXISTS', 'A conversation with that id exists already.');
    }
    // The conversation that had this id was removed from the store.
    const removed = created ? this.#conversations.owned(record.principal, id) : undefined;
    if (removed?.open.length === 0) this.#conversations.drop(removed);
    if (fence) {
      const stored = { ...started, body: JSON.parse(JSON.stringify(started.body)), seq: 1, cursor: 1 };
      this.#conversations.addCreated({ record, fence, started: stored, history: [], open: [] });
    }
    return viewOf(record);
  }

  /**
   * Returns the id in the store of the conversation that a caller names by its public id, and by its owner if it may use several with
   * that id. The conversations of others do not exist for the caller: the same look-up finds nothing. @throws {CONVERSATION_UNKNOWN}
   */
  async reach(caller: IdentifiedCaller, publicId: string, owner?: string): Promise<string> {
    this.#mustBeOpen();
    mustBeText(publicId, owner ?? '');
    const { principal, mayUseAny } = caller;
    const isOwn = owner === undefined || owner === principal;
    const own = isOwn ? this.#conversations.owned(principal, publicId) : undefined;
    if (own) return own.id;
    const id = await this.#store.reach({ agent: this.#agent, publicId, principal, mayUseAny, owner });
    if (id === undefined) throw unknownConversation();
    return id;
  }

  /**
   * Accepts a turn, or joins the one that has its id or its retry key, running or ended. The turn is durable when the promise
   * resolves.
   * @throws {CONVERSATION_UNKNOWN | TURN_CONFLICT | TURN_IN_PROGRESS | TURN_QUEUE_FULL | PARAMS_INVALID} before the
   * turn was accepted
   * @throws {STORE_CONFLICT} when another process holds the conversation; and other errors of the store
   */
  async turn(request: TurnRequest): Promise<LiveTurn> {
    const { conversationId: id, turnId, retry } = request;
    this.#mustBeOpen();
    mustBeText(id, turnId, retry?.key ?? '');
    if (!retry) return this.#acceptOrJoin(request);
    return this.#retryKeys.run(retry, () => this.#acceptOrJoin(request));
  }

  async #acceptOrJoin(request: TurnRequest): Promise<LiveTurn> {
    const { conversationId: id, turnId, retry } = request;
    const held = this.#conversations.get(id);
    // A caller with a later cursor has followed another process, which has acquired the conversation since.
    const isCurrent = held && fenceOf(request.after ?? 0) <= held.journal.epoch;
    const live = isCurrent ? held.turns.get(turnId) : undefined;
    if (live) return sameRequest(live, request);
    const isRetry = retry !== undefined && retry.count > 0;
    const { principal } = request;
    const limits = principal === undefined ? undefined : this.#quotas.limitsOf(principal, request.limits);
    const isReady = isCurrent && held.open.length === 0 && held.phase === 'open' && !isRetry && !limits;
    if (isReady && held.journal.failure === undefined) {
      // The fast path: the conversation is idle and in memory. The store refuses the turn if its id exists or if another process
      // has written meanwhile. Then nothing was written, and the slow path below finds the reason.
      try {
        return await this.#accept(held, request);
      } catch (error) {
        // The results may answer calls that another process has recorded.
        if (!isFabricError(error, 'STORE_CONFLICT') && !isFabricError(error, 'PARAMS_INVALID')) throw error;
      }
    }
    const retried = retry && this.#store.retried(this.#retryOf(request, retry));
    const peeking = this.reads.peek(id, turnId).catch((error: unknown) => {
      // Another process removed it. Its owner may start another one with its public id.
      if (held?.open.length === 0) this.#conversations.drop(held);
      throw error;
    });
    const [peek, place] = await Promise.all([peeking, retried]);
    const joined =
      peek.turn || !place
        ? await this.#join(id, turnId, peek)
        : await this.#join(place.conversationId, place.turnId);
    if (joined) return sameRequest(joined, request);
    if (isEndedState(peek.state)) throw unknownConversation();
    // A turn that was joined counts once.
    if (limits) await this.#quotas.admit(principal!, limits);
    let conversation: Conversation;
    do conversation = await this.#conversations.current(id, peek.epoch);
    while (
      // The end of another turn may have evicted it before this code continued.
      this.#conversations.get(id) !== conversation
    );
    // Another call may have sent the turn meanwhile.
    const known = conversation.turns.get(turnId);
    if (known) return sameRequest(known, request);
    // A refused append would break the journal for the turns that run in this conversation: their numbers follow.
    if (peek.isFull && conversation.open.length > 0) {
      throw new FabricError(
        'STORE_FULL',
        'The store of conversations has no room for another turn; remove conversations or raise FAME_STORE_MAX_BYTES.',
      );
    }
    try {
      return await this.#accept(conversation, request);
    } catch (error) {
      // It may have been loaded for this turn only, so the end of a turn will not evict it.
      this.#conversations.evict(conversation);
      throw error;
    }
  }

  /** Returns a turn that the store has, running or ended, or undefined if it has none with that id. */
  async #join(id: string, turnId: string, peeked?: Peek): Promise<LiveTurn | undefined> {
    const peek = peeked ?? (await this.#store.peek(id, turnId));
    if (!peek?.turn) return undefined;
    if (peek.turn.state === 'open') {
      const conversation = await this.#conversations.current(id, peek.epoch);
      const open = conversation.turns.get(turnId);
      if (open) return open;
    }
    return this.#endedTurn(id, peek.turn, peek.epoch);
  }

  #retryOf({ conversationId, turnId }: TurnRequest, retry: RetryKey): RetryRequest {
    return { ...retry, agent: this.#agent, conversationId, turnId, lateMs: this.#scheduler.turnTimeoutMs };
  }

  async #accept(conversation: Conversation, request: TurnRequest): Promise<LiveTurn> {
    this.#mustBeOpen();
    if (conversation.phase !== 'open') throw unknownConversation();
    const { userMessage, turnId, options = {}, toolResults = [], retry, traceId, ttl, limits } = request;
    const principal = request.principal === conversation.principal ? undefined : request.principal;
    const { turnPolicy } = conversation.options;
    this.#checkInput(conversation, options, toolResults);
    this.#scheduler.check(conversation.id, turnPolicy);
    const acceptedAt = this.#clock.monotonic();
    const deadline = acceptedAt + this.#scheduler.turnTimeoutMs;
    const date = this.#clock.now();
    const { id: conversationId } = conversation;
    const { epoch } = conversation.journal;
    const turn = new LiveTurn({
      id: turnId,
      clock: this.#clock,
      conversationId,
      userMessage,
      principal,
      limits,
      options,
      toolResults,
      acceptedAt,
      date,
      deadline,
      traceId,
      ttl,
      epoch,
    });
    conversation.turns.set(turnId, turn);
    this.#observe(conversation, turn);
    const { trace } = turn.observation;
    const { replyTo = '', callId = '', isStream = false, answer } = request.answerTo ?? {};
    const body = {
      user_message: userMessage,
      reply_to: replyTo,
      corr_id: callId,
      stream: isStream,
      ...(answer ? { answer } : {}),
      deadline: date + this.#scheduler.turnTimeoutMs,
      ...(Object.keys(options).length > 0 ? { options } : {}),
      ...(toolResults.length > 0 ? { tool_results: toolResults } : {}),
      ...(retry ? { retry_key: retry.key } : {}),
      ...(traceId === undefined ? {} : { trace_id: traceId }),
      ...(trace ? { trace } : {}),
      ...(ttl === undefined ? {} : { ttl }),
      ...(principal === undefined ? {} : { principal }),
    };
    // The turn starts while its acceptance is written: its own entries follow in the same journal, so one commit serves both.
    const accepted = conversation.journal.append([{ kind: 'turn_accepted', turnId, at: date, body }], {
      retry: retry && this.#retryOf({ ...request, conversationId: conversation.id }, retry),
    });
    this.#scheduler.schedule(conversation, turn, turnPolicy);
    try {
      await accepted;
    } catch (error) {
      // This journal accepts no more entries, so its turns stop.
      const code = isFabricError(error) ? tableCode(error.code) : 'STORE_UNAVAILABLE';
      this.#conversations.releaseTurns(conversation, new TurnReleased(code, errorMessage(error)));
      throw error;
    }
    return turn;
  }

  // A turn that waits for another one is checked again when it runs: that one may call tools of the caller.
  #checkInput(conversation: Conversation, options: TurnOptions, results: readonly ToolResult[]): void {
    const { model } = conversation.options;
    checkOptions(withModel(options, model), this.#runner.accepts ?? NO_OPTIONS);
    if (options.tools?.length && conversation.options.maxHistoryLength === 0) {
      throw new FabricError(
        'PARAMS_INVALID',
        'options.tools: The conversation has max_history_length 0, so the next turn could not bring the results of calls.',
      );
    }
    if (conversation.open.length > 0) return;
    const fault = resultsFault(conversation.history.openCalls, results);
    if (fault) throw fault;
  }

  /**
   * Cancels a turn, by default the one that runs or waits to run. Returns false if there was none.
   * @throws {CONVERSATION_UNKNOWN}
   */
  async cancelTurn(conversationId: string, turnId?: string): Promise<boolean> {
    const peek = await this.reads.peek(conversationId, turnId);
    if (isEndedState(peek.state)) throw unknownConversation();
    const conversation =
      peek.turn?.state === 'open' || peek.isDormant
        ? await this.#conversations.current(conversationId, peek.epoch)
        : this.#conversations.get(conversationId);
    const turn =
      turnId === undefined
        ? (conversation?.running ?? conversation?.open[0])
        : conversation?.turns.get(turnId);
    if (!turn || turn.outcomeHere) return false;
    turn.abort(new FabricError('TURN_CANCELLED', 'The turn was cancelled.', { details: { by: 'caller' } }));
    await turn.outcome;
    return true;
  }

  /**
   * Answers a question of a turn. The answer is durable when the promise resolves. The same answer again has no effect.
   * @throws {CONVERSATION_UNKNOWN | APPROVAL_UNKNOWN | APPROVAL_ANSWERED}
   * @throws {AUTH_FORBIDDEN} for `anonymous`, if the conversation belongs to another principal
   */
  async answerApproval(request: AnswerRequest): Promise<void> {
    const { conversationId: id, callId } = request;
    mustBeText(callId);
    checkMayAnswer(request, await this.reads.record(id));
    const turnId = await this.#store.turnOfApproval(id, callId);
    if (turnId === undefined) throw unknownApproval();
    const { turn, epoch } = await this.reads.peek(id, turnId);
    if (!turn) throw unknownApproval();
    if (turn.state === 'open') {
      const conversation = await this.#conversations.current(id, epoch);
      const live = conversation.turns.get(turnId);
      if (live) return recordAnswer(conversation, live, request);
    }
    await checkRecordedAnswer(await this.#endedTurn(id, turn, epoch), request);
  }

  /** Ends a conversation and its running turn. Has no effect if it has ended or the id is unknown. */
  async end(id: string, state: 'completed' | 'canceled' = 'completed'): Promise<void> {
    mustBeText(id);
    const peek = await this.#store.peek(id);
    if (peek?.agent !== this.#agent || isEndedState(peek.state)) return;
    const conversation = await this.#conversations.current(id, peek.epoch);
    if (conversation.phase === 'ended') return;
    const ending = this.#endings.get(id) ?? this.#end(conversation, state);
    this.#endings.set(id, ending);
    try {
      await ending;
    } finally {
      this.#endings.delete(id);
    }
  }

  async #end(conversation: Conversation, state: 'completed' | 'canceled'): Promise<void> {
    conversation.phase = 'ending';
    try {
      const reason = new FabricError('TURN_CANCELLED', 'The conversation was ended.', {
        details: { by: 'end_conversation' },
      });
      const { open } = conversation;
      for (const turn of open) turn.abort(reason);
      await Promise.all(open.map((turn) => turn.outcome));
      await conversation.journal.append([{ kind: 'conversation_ended', body: { state } }], {
        state,
        release: true,
      });
    } finally {
      this.#conversations.drop(conversation);
    }
    this.#notifyEnded(conversation.id);
  }

  #notifyEnded(id: string): void {
    this.#endWaiters.notify(id, this.#state === 'open');
  }

  /** Waits for the end of a conversation. Resolves with false if `signal` aborted first. @throws {CONVERSATION_UNKNOWN} */
  async whenEnded(id: string, signal: AbortSignal): Promise<boolean> {
    const hasEnded = async (): Promise<boolean> => isEndedState((await this.reads.peek(id)).state);
    // Another replica may end it, which this process learns from the store.
    const timer =
      this.placement && this.#clock.every(END_POLL_MS, () => void this.#notifyIfEnded(id, hasEnded));
    try {
      return await this.#endWaiters.wait(id, signal, async () => {
        if (await hasEnded()) return true;
        return signal.aborted || this.#state === 'closed' ? false : undefined;
      });
    } finally {
      timer?.stop();
    }
  }

  async #notifyIfEnded(id: string, hasEnded: () => Promise<boolean>): Promise<void> {
    // Without the store the next poll decides.
    if (await hasEnded().catch(() => false)) this.#notifyEnded(id);
  }

  /** Loads conversations with open turns that no process holds. Resolves when their turns have been started. */
  recover(): Promise<void> {
    return this.#recovery.run();
  }

  /** Releases turns that wait for a person, now and later, because a stopping agent accepts no answers. Ends all followers. */
  drain(): void {
    this.#stopping.abort(stopped());
    // The other replicas continue the turns of those that have died.
    if (this.placement) this.#recovery.close();
    this.#conversations.releaseWaiting();
  }

  /** Releases running turns: they stay open in the journal, for the next process that opens the store. */
  async close(): Promise<void> {
    this.#state = 'closed';
    for (const timer of this.#timers.splice(0)) timer.stop();
    this.#recovery.close();
    await this.#conversations.close();
    this.#endWaiters.close();
  }

  #observe({ publicId }: Conversation, turn: LiveTurn): void {
    void turn.outcome.then((outcome) => {
      if (!turn.isReleased) this.statistics.ended(outcome);
    });
    if (this.#observer === NO_OBSERVER) return;
    const { id, acceptedAt, date, traceId, recorded, recordedTrace } = turn;
    turn.observation = this.#observer.accepted({
      id,
      agent: this.#agent,
      conversation: publicId,
      acceptedAt,
      date,
      traceId,
      isResumed: recorded !== undefined,
      recordedTrace,
    });
  }

  #resume(conversation: Conversation, turn: LiveTurn, events: readonly JournalEvent[]): void {
    const { reply_to: replyTo, corr_id: callId, stream: isStream, answer } = acceptedOf(events);
    const { id: conversationId } = conversation;
    this.#observe(conversation, turn);
    void turn.outcome.then((outcome) => {
      // A released turn is answered by the process that continues it.
      if (replyTo === '' || turn.isReleased) return;
      const answerTo = { replyTo, callId, isStream, ...(answer ? { answer } : {}) };
      this.#onRecovered?.({ conversationId, turnId: turn.id, answerTo, outcome });
    });
    this.#scheduler.schedule(conversation, turn, 'queue');
  }

  #endedTurn(conversationId: string, turn: TurnRecord, epoch: number): Promise<LiveTurn> {
    const key = JSON.stringify([conversationId, turn.turnId]);
    let reading = this.#endedTurns.get(key);
    if (!reading) {
      reading = this.#readEndedTurn(conversationId, turn, epoch).finally(() => this.#endedTurns.delete(key));
      this.#endedTurns.set(key, reading);
    }
    return reading;
  }

  async #readEndedTurn(conversationId: string, turn: TurnRecord, epoch: number): Promise<LiveTurn> {
    const events = await this.reads.eventsOf(conversationId, turn);
    return turnOf(conversationId, events, { clock: this.#clock, epoch });
  }

  async #recoverLater(): Promise<void> {
    try {
      await this.recover();
    } catch (error) {
      this.#searchFailed(error);
    }
  }

  #searchFailed(error: unknown): void {
    this.#log.warn('the store could not be searched for unfinished turns', { error });
  }

  #mustBeOpen(): void {
    if (this.#state === 'closed') throw new FabricError('NODE_GONE', 'The agent stopped.');
  }
}

function sameRequest(turn: LiveTurn, { userMessage, options = {}, toolResults = [] }: TurnRequest): LiveTurn {
  const isSame =
    turn.userMessage === userMessage &&
    isDeepStrictEqual(turn.options, options) &&
    isDeepStrictEqual(turn.toolResults, toolResults);
  if (isSame) return turn;
  throw new FabricError(
    'TURN_CONFLICT',
    'The turn id, or the retry key, is already used for another message, or for other options or results. Use a new one.',
  );
}

const stopped = (): FabricError =>
  new FabricError('NODE_GONE', 'The agent stopped. Read on from the last seq.');
