// The turns of a conversation as the page shows them, built from its events. A change replaces the turn that it concerns and no
// other, so components render only the turns that changed.
import type { ConversationEvent, Cost, ForkOrigin, ModelMessage, TurnUsage } from '@fame-fabric/client';

/** One request to a model. Times are in ms since the epoch. */
export interface ModelCall {
  /** From 1. */
  readonly step: number;
  readonly model: string;
  /** Member of a team that called. */
  readonly agent?: string | undefined;
  readonly startedAt: number;
  readonly endedAt?: number | undefined;
  /** From the request to the first text or call, in ms. */
  readonly firstTokenMs?: number | undefined;
  /** Duration of the write to the journal before the request, in ms. */
  readonly journalMs?: number | undefined;
  readonly finish?: string | undefined;
  readonly usage?: TurnUsage | null | undefined;
  readonly cost?: Cost | undefined;
  /** True if no reply came: the request failed, or the agent died. */
  readonly isLost: boolean;
}

/** One run of a tool. Times are in ms since the epoch. */
export interface ToolRun {
  readonly id: string;
  readonly name: string;
  /** Absent if they are long. */
  readonly args?: Readonly<Record<string, unknown>> | undefined;
  readonly startedAt: number;
  readonly endedAt?: number | undefined;
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'refused';
  /** The start of its result. */
  readonly content?: string | undefined;
  /** Number of characters that are missing from `content`. */
  readonly leftOut?: number | undefined;
}

/** A used-up budget that a person may extend. */
export interface BudgetQuestion {
  readonly id: string;
  readonly args?: Readonly<Record<string, unknown>> | undefined;
  readonly state: 'waiting' | 'approved' | 'refused';
}

/** The agent withdrew text, because it was restarted or its turn differed from the record. */
export interface Restart {
  readonly at: number;
  /** Number of resumes without progress, from 1; 0 if the turn differed from its record; absent in events of earlier agents. */
  readonly attempt?: number | undefined;
  readonly withdrawnChars: number;
}

/** Text, tools, questions and restarts in the order in which they happened. */
export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tool'; readonly run: ToolRun }
  | { readonly type: 'budget'; readonly question: BudgetQuestion }
  | { readonly type: 'restart'; readonly restart: Restart };

export interface Turn {
  readonly id: string;
  readonly userMessage: string;
  /** In ms since the epoch. */
  readonly acceptedAt: number;
  readonly endedAt?: number | undefined;
  /** `waiting` while a person has to approve something. */
  readonly state: 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled';
  readonly parts: readonly Part[];
  readonly calls: readonly ModelCall[];
  readonly error?: { readonly code: string; readonly message: string } | undefined;
  readonly model?: string | null | undefined;
  readonly finish?: string | undefined;
  readonly usage?: TurnUsage | undefined;
  readonly cost?: Cost | undefined;
  readonly firstTokenMs?: number | null | undefined;
  readonly durationMs?: number | null | undefined;
  readonly waitedMs?: number | undefined;
  readonly journalMs?: number | undefined;
  /** The reason why a team ignored the message. */
  readonly ignored?: string | undefined;
  /** Its events as they arrived. At most 2,000; `eventsLeftOut` counts the others. The array grows in place. */
  readonly events: readonly ConversationEvent[];
  readonly eventsLeftOut: number;
}

/** The start of a conversation. */
export interface Start {
  readonly at: number;
  readonly systemPrompt?: string | undefined;
  readonly messages: readonly ModelMessage[];
  readonly forkedFrom?: ForkOrigin | undefined;
}

type TurnEvent = Exclude<ConversationEvent, { type: 'started' | 'turn' | 'ended' }>;

/** Turns that are kept. Older ones are left out of the view; the agent still has them. */
const MAX_TURNS = 1_000;
const MAX_EVENTS = 2_000;

export class Turns {
  readonly #turns = new Map<string, Turn>();
  #start: Start | undefined;
  #cursor = 0;
  #endedState: string | undefined;
  #leftOut = 0;

  /** Cursor of the last event. 0 before the first. */
  get cursor(): number {
    return this.#cursor;
  }

  get start(): Start | undefined {
    return this.#start;
  }

  /** State of a conversation that has ended. */
  get endedState(): string | undefined {
    return this.#endedState;
  }

  /** Number of old turns that are not kept. */
  get leftOut(): number {
    return this.#leftOut;
  }

  /** Oldest first. */
  get all(): readonly Turn[] {
    return [...this.#turns.values()];
  }

  has(turnId: string): boolean {
    return this.#turns.has(turnId);
  }

  /** Applies the next event. Ignores types that it does not know. */
  apply(event: ConversationEvent): void {
    this.#cursor = event.seq;
    if (event.type === 'ended') this.#endedState = event.state;
    else if (event.type === 'started') this.#start = startOf(event);
    else if (event.type === 'turn') this.#accept(event);
    else {
      const turn = this.#turns.get(event.turn_id);
      if (turn) this.#turns.set(turn.id, withEvent(nextTurn(turn, event), event));
    }
  }

  // An agent that was restored from a backup sends its last turn again, from the start.
  #accept(event: Extract<ConversationEvent, { type: 'turn' }>): void {
    this.#turns.set(event.turn_id, {
      id: event.turn_id,
      userMessage: event.user_message,
      acceptedAt: timeOf(event),
      state: 'running',
      parts: [],
      calls: [],
      events: [event],
      eventsLeftOut: 0,
    });
    const oldest = this.#turns.keys().next().value;
    if (this.#turns.size <= MAX_TURNS || oldest === undefined) return;
    this.#turns.delete(oldest);
    this.#leftOut++;
  }
}

const timeOf = ({ at }: { at: string }): number => Date.parse(at);

function startOf(event: Extract<ConversationEvent, { type: 'started' }>): Start {
  const { system_prompt: systemPrompt, messages = [], forked_from: forkedFrom } = event;
  return {
    at: timeOf(event),
    systemPrompt: typeof systemPrompt === 'string' ? systemPrompt : undefined,
    messages,
    forkedFrom,
  };
}

function withEvent(turn: Turn, event: ConversationEvent): Turn {
  if (turn.events.length >= MAX_EVENTS) return { ...turn, eventsLeftOut: turn.eventsLeftOut + 1 };
  (turn.events as ConversationEvent[]).push(event);
  return turn;
}

function nextTurn(turn: Turn, event: TurnEvent): Turn {
  const at = timeOf(event);
  switch (event.type) {
    case 'model_call': {
      const { step, model, agent, waited_ms: waitedMs = turn.waitedMs } = event;
      const call: ModelCall = { step, model, agent, startedAt: at, isLost: false };
      return { ...turn, waitedMs, calls: [...closedCalls(turn.calls, at), call] };
    }
    case 'model_reply': {
      const { finish, usage, cost, first_token_ms: firstTokenMs, journal_ms: journalMs } = event;
      const reply = { endedAt: at, finish, usage, cost, firstTokenMs, journalMs };
      const last = turn.calls.findLastIndex(
        ({ step, endedAt }) => step === event.step && endedAt === undefined,
      );
      return last < 0 ? turn : { ...turn, calls: turn.calls.with(last, { ...turn.calls[last]!, ...reply }) };
    }
    case 'done': {
      const { model, finish, usage, cost, ignored, text } = event;
      const parts = textOf(turn) === '' && text !== '' ? withText(turn.parts, text) : turn.parts;
      return { ...ended(turn, event, at), parts, state: 'completed', model, finish, usage, cost, ignored };
    }
    case 'error': {
      const { code, message, model = turn.model, usage, cost } = event;
      const state = code === 'TURN_CANCELLED' ? 'cancelled' : 'failed';
      return { ...ended(turn, event, at), state, error: { code, message }, model, usage, cost };
    }
    default: {
      const parts = nextParts(turn.parts, event, at);
      const calls = event.type === 'restart' ? closedCalls(turn.calls, at) : turn.calls;
      return { ...turn, parts, calls, state: parts.some(isWaiting) ? 'waiting' : 'running' };
    }
  }
}

const isWaiting = (part: Part): boolean =>
  (part.type === 'tool' && part.run.state === 'waiting') ||
  (part.type === 'budget' && part.question.state === 'waiting');

function ended(turn: Turn, event: Extract<TurnEvent, { type: 'done' | 'error' }>, at: number): Turn {
  const { first_token_ms, duration_ms, waited_ms, journal_ms } = event;
  const parts = turn.parts.map((part): Part => {
    if (part.type !== 'tool' || part.run.endedAt !== undefined) return part;
    return {
      ...part,
      run: { ...part.run, endedAt: at, state: part.run.state === 'refused' ? 'refused' : 'failed' },
    };
  });
  return {
    ...turn,
    parts,
    calls: closedCalls(turn.calls, at),
    endedAt: at,
    firstTokenMs: first_token_ms,
    durationMs: duration_ms,
    waitedMs: turn.waitedMs ?? waited_ms,
    journalMs: journal_ms,
  };
}

/** Closes the calls that got no reply. */
const closedCalls = (calls: readonly ModelCall[], at: number): readonly ModelCall[] =>
  calls.every(({ endedAt }) => endedAt !== undefined)
    ? calls
    : calls.map((call) => (call.endedAt === undefined ? { ...call, endedAt: at, isLost: true } : call));

function nextParts(parts: readonly Part[], event: TurnEvent, at: number): readonly Part[] {
  switch (event.type) {
    case 'text':
      return withText(parts, event.text);
    case 'restart': {
      const withdrawnChars = Math.max(0, textOf({ parts }).length - event.keep);
      return [
        ...withoutText(parts, event.keep),
        { type: 'restart', restart: { at, attempt: event.attempt, withdrawnChars } },
      ];
    }
    case 'tool_call': {
      const { id = '', name = '', args } = event;
      const known = runOf(parts, id);
      return withRun(parts, { id, name, args: args ?? known?.args, startedAt: at, state: 'running' });
    }
    case 'tool_result': {
      const { id = '', name = '', ok, content, left_out: leftOut } = event;
      const known = runOf(parts, id);
      const state = known?.state === 'refused' ? 'refused' : ok ? 'done' : 'failed';
      return withRun(parts, { id, name, startedAt: at, ...known, endedAt: at, state, content, leftOut });
    }
    case 'approval': {
      const { id, kind, name, args } = event;
      if (kind === 'tool') return withRun(parts, { id, name, args, startedAt: at, state: 'waiting' });
      return [...parts, { type: 'budget', question: { id, args, state: 'waiting' } }];
    }
    case 'approval_answer':
      return parts.map((part): Part => {
        if (part.type === 'tool' && part.run.id === event.id)
          return { ...part, run: { ...part.run, state: event.approve ? 'running' : 'refused' } };
        if (part.type === 'budget' && part.question.id === event.id)
          return { ...part, question: { ...part.question, state: event.approve ? 'approved' : 'refused' } };
        return part;
      });
    default:
      return parts; // of a later version
  }
}

function runOf(parts: readonly Part[], id: string): ToolRun | undefined {
  if (id === '') return undefined;
  for (const part of parts) if (part.type === 'tool' && part.run.id === id) return part.run;
  return undefined;
}

/** Replaces the run with the same id, or appends it. */
function withRun(parts: readonly Part[], run: ToolRun): readonly Part[] {
  const part = { type: 'tool', run } as const;
  const index = parts.findIndex((other) => other.type === 'tool' && other.run.id === run.id);
  return index < 0 ? [...parts, part] : parts.with(index, part);
}

function withText(parts: readonly Part[], text: string): readonly Part[] {
  const last = parts.at(-1);
  return last?.type === 'text'
    ? [...parts.slice(0, -1), { type: 'text', text: last.text + text }]
    : [...parts, { type: 'text', text }];
}

/** Keeps the first `keep` characters of the text, and everything that is not text. */
function withoutText(parts: readonly Part[], keep: number): readonly Part[] {
  let left = keep;
  return parts.flatMap((part): Part[] => {
    if (part.type !== 'text') return [part];
    const text = part.text.slice(0, left);
    left -= text.length;
    return text === '' ? [] : [{ type: 'text', text }];
  });
}

/** The whole text of a turn so far. */
export const textOf = ({ parts }: Pick<Turn, 'parts'>): string =>
  parts.map((part) => (part.type === 'text' ? part.text : '')).join('');

export const toolsOf = ({ parts }: Pick<Turn, 'parts'>): ToolRun[] =>
  parts.flatMap((part) => (part.type === 'tool' ? [part.run] : []));

export const isOver = ({ state }: Pick<Turn, 'state'>): boolean => state !== 'running' && state !== 'waiting';
