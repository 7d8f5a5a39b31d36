// The history of a conversation for the model: a bounded window of whole turns. A turn enters it in one step, complete and in the
// order that model servers accept (each call followed by its results), or not at all. A turn that called tools of its caller ends
// with open calls; the turn after it begins with their results. The full record is the journal (`conversation/journal/journal.ts`).
import { FabricError } from '@fame-fabric/shared';
import type { AssistantMessage, ModelMessage, ToolMessage } from '../model/model.ts';
import { charsOf, roughTokens, type TokenCounter } from '../model/tokens.ts';
import { faultContent } from '../tools/tool-outcome.ts';
import { openCallsOf, resultsFault } from './foreign-calls.ts';
import type { ToolResult, TurnOptions } from './turn-options.ts';

/** Replaces an empty user message. */
export const OPENING_REQUEST = 'Please open our conversation: greet me, and ask how you can help.';

/** Marks a text as cut short, for the model. */
export const INTERRUPTED_MARK = '[interrupted]';

/** Rule for failed and cancelled turns: `auto` keeps a turn only if a tool was started. */
export type FailedTurnRule = 'auto' | 'discard' | 'keep';

export interface HistoryOptions {
  /** Always the first message of the window. */
  system?: string | undefined;
  /** Turns to keep; a plain turn is two messages. @default 10 */
  maxTurns?: number | undefined;
  /** Maximum tokens of the window without the system message. The oldest turns are left out first. */
  maxTokens?: number | undefined;
  /** @default a quarter of the characters */
  count?: TokenCounter | undefined;
}

/** A turn in the history. */
interface PastTurn {
  readonly messages: readonly ModelMessage[];
  /** Number of the turn among those that entered the history, from 1; 0 for the running one. */
  readonly number: number;
  /** For a turn that begins with results of calls: the messages that must precede it if the previous turn is left out. */
  readonly lead: readonly ModelMessage[];
  /** For the running turn: its system message, if it has one of its own. */
  readonly system?: string | undefined;
}

/** The parts of a turn beside its message and its results. */
export interface DraftOptions {
  /** The lead of a turn in the journal. Without one, the turn has to answer the open calls of the last turn. */
  lead?: readonly ModelMessage[] | undefined;
  options?: Pick<TurnOptions, 'instructions' | 'truncation'> | undefined;
}

export class History {
  readonly #system: string | undefined;
  readonly #maxTurns: number;
  readonly #maxTokens: number;
  readonly #count: TokenCounter;
  #turns: PastTurn[] = [];
  #entered = 0;
  #chars = 0;

  constructor(options: HistoryOptions = {}) {
    this.#system = options.system;
    this.#maxTurns = Math.max(0, options.maxTurns ?? 10);
    this.#maxTokens = options.maxTokens ?? Number.POSITIVE_INFINITY;
    this.#count = options.count ?? roughTokens;
  }

  /**
   * Starts a turn. It enters the history with `commit`. `results` are those of the open calls.
   */
  begin(
    userText: string,
    results: readonly ToolResult[] = [],
    { lead, options = {} }: DraftOptions = {},
  ): TurnDraft {
    const messages: ModelMessage[] = results.map((result) => ({ role: 'tool', ...result }));
    const isBlank = userText.trim() === '';
    if (!isBlank || results.length === 0) {
      messages.push({ role: 'user', content: isBlank ? OPENING_REQUEST : userText });
    }
    return new TurnDraft(this, {
      messages,
      lead: lead ?? this.#nextLead(results),
      fault: lead ? undefined : (resultsFault(this.openCalls, results) ?? this.#truncationFault(options)),
      system: options.instructions,
    });
  }

  // A full history may have dropped turns already: after a restart only its last turns are loaded.
  #truncationFault({ truncation }: Pick<TurnOptions, 'truncation'>): FabricError | undefined {
    const isWhole = this.#turns.length < this.#maxTurns && this.#firstThatFits() === 0;
    if (truncation !== 'disabled' || isWhole || this.#entered === 0) return undefined;
    return new FabricError(
      'PARAMS_INVALID',
      `options.truncation: The model would not receive the whole history, which has ${this.#entered} turns or more. Use "auto", or start a conversation with a larger max_history_length.`,
      { details: { option: 'truncation' } },
    );
  }

  /** Ids of the calls that the last turn handed to its caller. */
  get openCalls(): readonly string[] {
    return openCallsOf(this.#turns.at(-1)?.messages ?? []);
  }

  // The question and the calls that the results answer.
  #nextLead(results: readonly ToolResult[]): readonly ModelMessage[] {
    const last = this.#turns.at(-1);
    if (!last || results.length === 0) return [];
    const before = [...last.lead, ...last.messages];
    const question = before.findLast((message) => message.role === 'user');
    const calls = before.slice(before.findLastIndex((message) => message.role === 'assistant'));
    return [question ?? { role: 'user', content: OPENING_REQUEST }, ...calls];
  }

  /** `[system]` and the last turns that fit, oldest first, cut between turns. A fresh array; the messages are shared. */
  window(next?: PastTurn): ModelMessage[] {
    return this.#windowOf(this.#turns.slice(this.#firstThatFits()), next);
  }

  #windowOf(turns: readonly PastTurn[], next?: PastTurn): ModelMessage[] {
    const messages = messagesOf(next ? [...turns, next] : turns);
    const system = next?.system ?? this.#system;
    if (system !== undefined && system !== '') messages.unshift({ role: 'system', content: system });
    return messages;
  }

  /** Windows with fewer turns, smallest loss first, for a request whose history a model server refuses. */
  *reducedWindows(next: PastTurn): Generator<ReducedWindow> {
    const turns = this.#turns.slice(this.#firstThatFits());
    const tried = new Set(['']);
    for (const kept of reductionsOf(turns, next)) {
      const out = turns.filter((turn) => !kept.includes(turn));
      const leftOut = out.map(({ number }) => this.#entered + 1 - number);
      if (tried.has(leftOut.join())) continue;
      tried.add(leftOut.join());
      yield { messages: this.#windowOf(kept, next), leftOut };
    }
  }

  /** Leaves turns out of all further windows. A turn is given by its distance from the next one: 1 is the last turn. */
  leaveOut(distances: readonly number[]): void {
    const numbers = new Set(distances.map((distance) => this.#entered + 1 - distance));
    this.#turns = this.#turns.filter((turn) => {
      const isOut = numbers.has(turn.number);
      if (isOut) this.#chars -= charsOfTurn(turn);
      return !isOut;
    });
  }

  /** The messages of all turns, oldest first, without the system message. */
  get messages(): ModelMessage[] {
    return messagesOf(this.#turns);
  }

  /** The turns in the history, oldest first. */
  get turns(): readonly (readonly ModelMessage[])[] {
    return this.#turns.map(({ messages }) => messages);
  }

  /** Characters of the turns in the history. */
  get chars(): number {
    return this.#chars;
  }

  /**
   * Adds a whole turn. `lead` precedes its messages where they begin with results; `openCalls` are the calls that it hands to its
   * caller. @throws {Error} when no model server would accept its messages: a fault of the caller.
   */
  add(
    messages: readonly ModelMessage[],
    lead: readonly ModelMessage[] = [],
    openCalls: readonly string[] = [],
  ): void {
    const fault = transcriptFault(messages, lead, openCalls);
    if (fault) throw new Error(`The turn cannot be added to the history: ${fault}.`);
    this.#push(sortResults(messages), lead);
  }

  /**
   * Adds the messages that a conversation starts with, split into turns at each message of the user that follows one of another
   * role. The first turn may begin with the assistant.
   */
  addStart(messages: readonly ModelMessage[]): void {
    let turn: ModelMessage[] = [];
    for (const [i, message] of messages.entries()) {
      if (message.role === 'user' && i > 0 && messages[i - 1]!.role !== 'user') {
        this.#push(turn, []);
        turn = [];
      }
      turn.push(message);
    }
    if (turn.length > 0) this.#push(turn, []);
  }

  #push(messages: readonly ModelMessage[], lead: readonly ModelMessage[]): void {
    this.#entered += 1;
    const turn: PastTurn = { messages: messages.map(withoutReasoning), lead, number: this.#entered };
    this.#turns.push(turn);
    this.#chars += charsOfTurn(turn);
    if (this.#turns.length <= this.#maxTurns) return;
    for (const old of this.#turns.splice(0, this.#turns.length - this.#maxTurns))
      this.#chars -= charsOfTurn(old);
  }

  #firstThatFits(): number {
    if (this.#maxTokens === Number.POSITIVE_INFINITY) return 0;
    let left = this.#maxTokens;
    let first = this.#turns.length;
    while (first > 0) {
      for (const message of this.#turns[first - 1]!.messages) left -= this.#count(message);
      if (left < 0) break;
      first -= 1;
    }
    return first;
  }
}

/** A window without some turns of the history. */
export interface ReducedWindow {
  /** The messages of the request. */
  readonly messages: ModelMessage[];
  /** The turns that it lacks, for `History.leaveOut`. */
  readonly leftOut: readonly number[];
}

// The last turn is the first suspect, because the request before it was accepted. Then come turns with calls, which servers check
// most strictly, then the length. Turns that continue the calls of the previous turn stay with it.
function reductionsOf(turns: readonly PastTurn[], next: PastTurn): PastTurn[][] {
  const exchanges: PastTurn[][] = [];
  for (const turn of [...turns, next]) {
    if (turn.lead.length > 0 && exchanges.length > 0) exchanges.at(-1)!.push(turn);
    else exchanges.push([turn]);
  }
  const last = exchanges.pop()!.slice(0, -1);
  const hasCalls = (exchange: readonly PastTurn[]): boolean =>
    exchange.some(({ messages }) => messages.some(({ role }) => role === 'tool'));
  return [
    ...(last.length > 0 ? [] : [exchanges.slice(0, -1).flat()]),
    [...exchanges.filter((exchange) => !hasCalls(exchange)).flat(), ...last],
    turns.slice(Math.ceil(turns.length / 2)),
    [],
  ];
}

// The results of the caller's calls follow those of the agent's own, in another turn.
function messagesOf(turns: readonly PastTurn[]): ModelMessage[] {
  const messages = [...(turns[0]?.lead ?? [])];
  for (const turn of turns) messages.push(...turn.messages);
  return turns.some(({ lead }) => lead.length > 0) ? sortResults(messages) : messages;
}

/** Servers accept the reasoning of a message only within its turn. */
function withoutReasoning(message: ModelMessage): ModelMessage {
  if (message.role !== 'assistant' || !message.provider?.message) return message;
  const { message: _reasoning, ...provider } = message.provider;
  const { provider: _all, ...plain } = message;
  return provider.calls ? { ...plain, provider } : plain;
}

const charsOfTurn = ({ messages, lead }: Pick<PastTurn, 'messages' | 'lead'>): number =>
  charsOf(messages) + charsOf(lead);

/** A running turn: results of the calls of the previous turn, the user's message, and the replies and results so far. */
export class TurnDraft {
  readonly #history: History;
  readonly #messages: ModelMessage[];
  /** The messages that must precede it if the previous turn is left out; empty unless it begins with results. */
  readonly lead: readonly ModelMessage[];
  /** PARAMS_INVALID if the turn does not answer the open calls. Such a turn cannot enter the history. */
  readonly fault: FabricError | undefined;
  readonly #system: string | undefined;
  #state: 'open' | 'settled' = 'open';

  constructor(
    history: History,
    of: {
      messages: ModelMessage[];
      lead: readonly ModelMessage[];
      fault: FabricError | undefined;
      system: string | undefined;
    },
  ) {
    this.#history = history;
    this.#messages = of.messages;
    this.lead = of.lead;
    this.fault = of.fault;
    this.#system = of.system;
  }

  /** The messages of the next request: the window, then this turn. */
  request(): ModelMessage[] {
    return this.#history.window(this.#asTurn());
  }

  /** Requests with fewer turns of the history, smallest loss first, for one that a model server refuses. */
  reducedRequests(): Generator<ReducedWindow> {
    return this.#history.reducedWindows(this.#asTurn());
  }

  /** Leaves turns out of all further requests. */
  leaveOut(distances: readonly number[]): void {
    this.#history.leaveOut(distances);
  }

  #asTurn(): PastTurn {
    return { messages: this.#messages, lead: this.lead, number: 0, system: this.#system };
  }

  get messages(): readonly ModelMessage[] {
    return this.#messages;
  }

  assistant(message: AssistantMessage): void {
    this.#messages.push(message);
  }

  /** Adds the result of a call. Results are kept in the order of their calls. */
  tool(callId: string, content: string): void {
    const last = this.#messages.findLastIndex((message) => message.role === 'assistant');
    const calls = (this.#messages[last] as AssistantMessage | undefined)?.tool_calls ?? [];
    const place = (id: string): number => calls.findIndex((call) => call.id === id);
    // A team answers a missing choice with a synthetic call, which no reply contains.
    if (place(callId) < 0) return;
    let at = this.#messages.length;
    while (at > last + 1 && place((this.#messages[at - 1] as ToolMessage).tool_call_id) > place(callId))
      at -= 1;
    this.#messages.splice(at, 0, { role: 'tool', tool_call_id: callId, content });
  }

  /**
   * Adds the turn to the history, with `messages` in place of its own if given. `openCalls` are the calls that it hands to its
   * caller. Further calls have no effect.
   */
  commit(messages: readonly ModelMessage[] = this.#messages, openCalls: readonly string[] = []): void {
    if (this.#state === 'settled') return;
    this.#state = 'settled';
    if (messages.length > 1) this.#history.add([...messages], this.lead, openCalls);
  }

  /**
   * Ends a turn that failed or was cancelled. If a tool was started, the exchange is kept and its open calls are answered, so that
   * the model sees it in the next turn. Otherwise the history does not change: an exchange whose calls were all refused may be the
   * reason of the failure. `startedCalls` includes calls without an outcome.
   * Returns true if the turn was kept.
   */
  interrupt(partialText: string, startedCalls: ReadonlySet<string>, rule: FailedTurnRule = 'auto'): boolean {
    if (this.#state === 'settled' || this.fault) return false;
    this.#state = 'settled';
    if (rule === 'discard' || (rule === 'auto' && startedCalls.size === 0)) return false;
    const last = this.#messages.at(-1);
    // A reply without anything in it.
    if (last?.role === 'assistant' && !last.content && !last.tool_calls) this.#messages.pop();
    const kept = closeCalls(this.#messages);
    const text = partialText === '' ? INTERRUPTED_MARK : `${partialText} ${INTERRUPTED_MARK}`;
    kept.push({ role: 'assistant', content: text });
    this.#history.add(kept, this.lead);
    return true;
  }
}

/** The tool message for a call whose outcome is not known. */
const abortedCall = (callId: string): ToolMessage => ({
  role: 'tool',
  tool_call_id: callId,
  content: faultContent({ code: 'aborted', message: 'This call did not finish: the turn was interrupted.' }),
});

/** Answers every call that has no tool message, and puts the tool messages in the order of their calls. */
const closeCalls = (messages: readonly ModelMessage[]): ModelMessage[] => sortResults(messages, abortedCall);

// Puts the tool messages in the order of their calls, in place of those that come later. Results at the beginning, whose calls are
// in an earlier turn, stay there.
function sortResults(
  messages: readonly ModelMessage[],
  missing?: (callId: string) => ToolMessage,
): ModelMessage[] {
  const sorted: ModelMessage[] = [];
  for (let at = 0; at < messages.length; ) {
    const message = messages[at++]!;
    sorted.push(message);
    if (message.role !== 'assistant' || !message.tool_calls) continue;
    const answers = new Map<string, ToolMessage>();
    for (let next = messages[at]; next?.role === 'tool'; next = messages[++at])
      answers.set(next.tool_call_id, next);
    for (const { id } of message.tool_calls) {
      const answer = answers.get(id) ?? missing?.(id);
      if (answer) sorted.push(answer);
    }
  }
  return sorted;
}

/**
 * The reason why a model server would refuse these messages as one turn; `undefined` if it would not. `lead` is the question and
 * the calls that a turn with results continues; `openCalls` may stay without a result.
 */
export function transcriptFault(
  turn: readonly ModelMessage[],
  lead: readonly ModelMessage[] = [],
  openCalls: readonly string[] = [],
): string | undefined {
  const messages = [...lead, ...turn];
  if (messages[0]?.role !== 'user') return 'it does not start with the user';
  if (openCalls.length === 0 && turn.at(-1)?.role !== 'assistant')
    return 'it does not end with the assistant';
  const brought = lead.length + turn.findIndex((message) => message.role !== 'tool');
  let open: string[] = [];
  for (const [index, message] of messages.entries()) {
    if (message.role === 'tool') {
      if (!open.includes(message.tool_call_id)) return `message ${index} answers no open call`;
      open = open.filter((id) => id !== message.tool_call_id);
      continue;
    }
    if (open.length > 0) return `call ${open[0]} is not answered before message ${index}`;
    if (message.role === 'system') return `message ${index} is a system message`;
    if (message.role === 'user' && index > 0 && (lead.length === 0 || index !== brought))
      return `message ${index} is a second user message`;
    if (message.role === 'assistant') {
      open = (message.tool_calls ?? []).map((call) => call.id);
      if (new Set(open).size !== open.length) return `message ${index} uses a call id twice`;
    }
  }
  const lost = open.find((id) => !openCalls.includes(id)) ?? openCalls.find((id) => !open.includes(id));
  return lost === undefined ? undefined : `call ${lost} is not answered, or answered and handed out`;
}
