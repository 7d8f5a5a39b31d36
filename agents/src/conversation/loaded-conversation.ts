// A conversation in memory: its options, history and open turns as the journal has them, ready for the next turn.

import type { Clock } from '@fame-fabric/shared';
import type { Cost } from '../model/cost.ts';
import type { Usage } from '../model/model.ts';
import {
  type AcquiredConversation,
  type ConversationStore,
  type EventKind,
  isEndedState,
  type JournalEvent,
} from '../store/store.ts';
import type { TurnObserver } from '../telemetry/turn-observer.ts';
import { History } from '../turn/history.ts';
import { Approvals } from './approval/approvals.ts';
import type { ConversationOptions } from './conversation.ts';
import { acceptedOf, bodyOf, optionsOfStart, outcomeOf, runnerStateOf } from './journal/journal.ts';
import { JournalWriter } from './journal/journal-writer.ts';
import { addToHistory, type RecordedTurn, recordedTurn } from './journal/recorded-turn.ts';
import { LiveTurn } from './live-turn.ts';
import type { Extensions, Spending } from './spending.ts';

/** Running totals of a conversation. */
export interface Totals {
  readonly usage: Usage;
  readonly spent: Spending;
  /** Cost of the answered model calls; absent in conversations of 0.1.0. */
  cost?: Cost;
  /** Extensions of the conversation's limits. */
  extensions?: Extensions;
}

/** Number of ended turns that stay in memory, for callers that repeat a request soon after. */
const KEPT_TURNS = 16;
/** Number of their events beyond which only the last turn stays. */
const KEPT_EVENTS = 512;
/** Rough size of an event, in characters. */
const EVENT_CHARS = 64;

export class Conversation {
  readonly id: string;
  readonly publicId: string;
  readonly principal: string;
  readonly options: ConversationOptions;
  readonly journal: JournalWriter;
  readonly history: History;
  readonly totals: Totals;
  /** Characters of the payload and the state from its start. */
  readonly #startChars: number;
  /** Turns that have not ended, and the last ones that have. */
  readonly turns = new Map<string, LiveTurn>();
  runnerState: unknown;
  running: LiveTurn | undefined;
  /** `ended`: by its caller, or by a turn that completed the task. Only an open one takes turns. */
  phase: 'open' | 'ending' | 'ended';
  /** Monotonic time at which a turn that asked a person ended, in ms. The turns that waited behind it get their time limit anew. */
  askedUntil = Number.NEGATIVE_INFINITY;
  /** True if the model server refused the last turn. */
  wasRefused = false;
  /** Resolves when a turn waits for a person. */
  readonly firstWait = Promise.withResolvers<void>();

  constructor(
    acquired: AcquiredConversation,
    store: ConversationStore,
    of: { leaseMs: number; clock: Clock; maxWindowTokens: number | undefined; observer: TurnObserver },
  ) {
    const { record, started, fence } = acquired;
    this.id = record.id;
    this.publicId = record.publicId;
    this.principal = record.principal;
    this.phase = isEndedState(record.state) ? 'ended' : 'open';
    this.options = optionsOfStart(started);
    const { leaseMs, clock, observer } = of;
    const { lastSeq } = record;
    this.journal = new JournalWriter(store, { id: this.id, fence, lastSeq, leaseMs, clock, observer });
    this.totals = structuredClone(record.totals) as unknown as Totals;
    this.history = historyOf(started, acquired.history, of.maxWindowTokens);
    this.runnerState = runnerStateOf(started, acquired.history);
    const { payload, state } = bodyOf(started, 'conversation_started');
    this.#startChars = lengthOf(payload) + lengthOf(state);
    for (const events of acquired.open) {
      const turn = turnOf(this.id, events, { clock, epoch: fence.epoch, recorded: recordedTurn(events) });
      this.turns.set(turn.id, turn);
    }
    this.journal.feed.subscribe({ event: (event) => this.turns.get(event.turnId ?? '')?.receive(event) });
  }

  /** Turns that run or wait. */
  get open(): LiveTurn[] {
    return [...this.turns.values()].filter((turn) => !turn.outcomeHere);
  }

  /** True if its running turn waits for a person and has nothing else to do. */
  get isWaiting(): boolean {
    return this.running?.isIdle === true && !this.running.approvals.isWriting;
  }

  /** True if a caller follows one of its turns. */
  get isFollowed(): boolean {
    return this.open.some(({ listeners }) => listeners > 0);
  }

  /** Rough size in memory, in characters. */
  get chars(): number {
    let chars = this.options.systemPrompt.length + this.#startChars + this.history.chars;
    // The text of a turn is in its events and in its outcome.
    for (const { inputChars, outcomeHere, size } of this.turns.values()) {
      chars += inputChars + 2 * (outcomeHere?.text.length ?? 0) + EVENT_CHARS * size;
    }
    return chars;
  }

  /** Drops the oldest ended turns beyond a few. */
  trim(): void {
    let events = 0;
    for (const turn of this.turns.values()) events += turn.size;
    for (const [id, turn] of this.turns) {
      if (this.turns.size <= KEPT_TURNS && (events <= KEPT_EVENTS || this.turns.size === 1)) return;
      if (!turn.outcomeHere) continue;
      this.turns.delete(id);
      events -= turn.size;
    }
  }
}

const lengthOf = (value: unknown): number => (value === undefined ? 0 : JSON.stringify(value).length);

export function historyOf(
  started: JournalEvent,
  turns: readonly (readonly JournalEvent[])[],
  maxTokens?: number,
): History {
  const { systemPrompt, maxHistoryLength } = optionsOfStart(started);
  const history = new History({
    system: systemPrompt,
    maxTurns: maxHistoryLength,
    maxTokens,
  });
  history.addStart(bodyOf(started, 'conversation_started').messages ?? []);
  for (const events of turns) addToHistory(history, events);
  return history;
}

/** Reads a turn from its events. */
export function turnOf(
  conversationId: string,
  events: readonly JournalEvent[],
  { clock, epoch, recorded }: { clock: Clock; epoch: number; recorded?: RecordedTurn },
): LiveTurn {
  const { user_message, options, tool_results, stream, corr_id, trace_id, trace, ttl, principal } =
    acceptedOf(events);
  const now = clock.monotonic();
  const approvals = new Approvals(events);
  const ended = outcomeOf(events.at(-1)!);
  return new LiveTurn({
    id: events[0]!.turnId!,
    clock,
    conversationId,
    streamCallId: stream ? corr_id : undefined,
    userMessage: user_message,
    principal,
    options,
    toolResults: tool_results,
    // A backward step of the clock must not accept a turn in the future.
    acceptedAt: now - Math.max(0, clock.now() - events[0]!.at),
    date: events[0]!.at,
    deadline: now + timeLeft(events, approvals, clock),
    traceId: trace_id,
    recordedTrace: trace,
    ttl,
    approvals,
    hasBegun: events.length > 1,
    epoch,
    events,
    ended,
    recorded,
  });
}

/** Events after which a turn has its whole time limit again. */
const RENEWALS: ReadonlySet<EventKind> = new Set(['approval_answered', 'turn_extended']);

/**
 * Remaining time of a turn that an earlier process accepted, in ms. The recorded deadline is wall time. After a forward step of the
 * clock the turn times out early. After a backward step it has at most its whole time limit once more. The limit starts anew with
 * each answer to an approval, and a turn that waits for one has all of it.
 */
function timeLeft(events: readonly JournalEvent[], approvals: Approvals, clock: Clock): number {
  const acceptedAt = events[0]!.at;
  const limit = acceptedOf(events).deadline - acceptedAt;
  if (approvals.pending.length > 0) return limit;
  const since = events.findLast(({ kind }) => RENEWALS.has(kind))?.at ?? acceptedAt;
  return Math.min(limit - (clock.now() - since), limit);
}
