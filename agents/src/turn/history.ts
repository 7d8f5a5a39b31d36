// The history of a conversation for the model: a bounded window of whole turns. A turn enters it in one step, complete and in the
// order that model servers accept (each call followed by its results), or not at all. The full record is the journal
// (`conversation/journal.ts`).
import type { AssistantMessage, ModelMessage, ToolMessage } from '../model/model.ts';
import { charsOf, roughTokens, type TokenCounter } from '../model/tokens.ts';
import { faultContent } from '../tools/tool-outcome.ts';

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

export class History {
  readonly #system: string | undefined;
  readonly #maxTurns: number;
  readonly #maxTokens: number;
  readonly #count: TokenCounter;
  #turns: (readonly ModelMessage[])[] = [];
  #chars = 0;

  constructor(options: HistoryOptions = {}) {
    this.#system = options.system;
    this.#maxTurns = Math.max(0, options.maxTurns ?? 10);
    this.#maxTokens = options.maxTokens ?? Number.POSITIVE_INFINITY;
    this.#count = options.count ?? roughTokens;
  }

  /** Starts a turn. It enters the history with `commit`. */
  begin(userText: string): TurnDraft {
    const content = userText.trim() === '' ? OPENING_REQUEST : userText;
    return new TurnDraft(this, content);
  }

  /** `[system]` and the last turns that fit, oldest first, cut between turns. A fresh array; the messages are shared. */
  window(): ModelMessage[] {
    const messages: ModelMessage[] = [];
    if (this.#system !== undefined && this.#system !== '') {
      messages.push({ role: 'system', content: this.#system });
    }
    for (const turn of this.#turns.slice(this.#firstThatFits())) messages.push(...turn);
    return messages;
  }

  /** The turns in the history, oldest first. */
  get turns(): readonly (readonly ModelMessage[])[] {
    return this.#turns;
  }

  /** Characters of the turns in the history. */
  get chars(): number {
    return this.#chars;
  }

  /** Adds a whole turn. @throws {Error} when no model server would accept its messages: a fault of the caller. */
  add(messages: readonly ModelMessage[]): void {
    const fault = transcriptFault(messages);
    if (fault) throw new Error(`The turn cannot be added to the history: ${fault}.`);
    this.#push(closeCalls(messages));
  }

  /**
   * Adds the messages that a conversation starts with, split into turns at each message of the user that follows one of another
   * role. The first turn may begin with the assistant.
   */
  addStart(messages: readonly ModelMessage[]): void {
    let turn: ModelMessage[] = [];
    for (const [i, message] of messages.entries()) {
      if (message.role === 'user' && i > 0 && messages[i - 1]!.role !== 'user') {
        this.#push(turn);
        turn = [];
      }
      turn.push(message);
    }
    if (turn.length > 0) this.#push(turn);
  }

  #push(turn: readonly ModelMessage[]): void {
    this.#turns.push(turn);
    this.#chars += charsOf(turn);
    if (this.#turns.length <= this.#maxTurns) return;
    for (const old of this.#turns.splice(0, this.#turns.length - this.#maxTurns)) this.#chars -= charsOf(old);
  }

  #firstThatFits(): number {
    if (this.#maxTokens === Number.POSITIVE_INFINITY) return 0;
    let left = this.#maxTokens;
    let first = this.#turns.length;
    while (first > 0) {
      for (const message of this.#turns[first - 1]!) left -= this.#count(message);
      if (left < 0) break;
      first -= 1;
    }
    return first;
  }
}

/** A running turn: the user's message, and the replies and results so far. */
export class TurnDraft {
  readonly #history: History;
  readonly #messages: ModelMessage[];
  #state: 'open' | 'settled' = 'open';

  constructor(history: History, userText: string) {
    this.#history = history;
    this.#messages = [{ role: 'user', content: userText }];
  }

  /** The messages of the next request: the window, then this turn. */
  request(): ModelMessage[] {
    const messages = this.#history.window();
    for (const message of this.#messages) messages.push(message);
    return messages;
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

  /** Adds the turn to the history, with `messages` in place of its own if given. Further calls have no effect. */
  commit(messages: readonly ModelMessage[] = this.#messages): void {
    if (this.#state === 'settled') return;
    this.#state = 'settled';
    if (messages.length > 1) this.#history.add([...messages]);
  }

  /**
   * Ends a turn that failed or was cancelled. If a tool was started, the exchange is kept and its open calls are answered, so that
   * the model sees it in the next turn. Otherwise the history does not change. `startedCalls` includes calls without an outcome.
   * Returns true if the turn was kept.
   */
  interrupt(partialText: string, startedCalls: ReadonlySet<string>, rule: FailedTurnRule = 'auto'): boolean {
    if (this.#state === 'settled') return false;
    this.#state = 'settled';
    const toolRan = startedCalls.size > 0 || this.#messages.some((message) => message.role === 'tool');
    if (rule === 'discard' || (rule === 'auto' && !toolRan)) return false;
    const kept = closeCalls(this.#messages);
    const text = partialText === '' ? INTERRUPTED_MARK : `${partialText} ${INTERRUPTED_MARK}`;
    kept.push({ role: 'assistant', content: text });
    this.#history.add(kept);
    return true;
  }
}

/** The tool message for a call whose outcome is not known. */
const abortedCall = (callId: string): ToolMessage => ({
  role: 'tool',
  tool_call_id: callId,
  content: faultContent({ code: 'aborted', message: 'This call did not finish: the turn was interrupted.' }),
});

// Answers every call that has no tool message, and puts the tool messages in the order of their calls.
function closeCalls(messages: readonly ModelMessage[]): ModelMessage[] {
  const answers = new Map<string, ToolMessage>();
  for (const message of messages) if (message.role === 'tool') answers.set(message.tool_call_id, message);
  const closed: ModelMessage[] = [];
  for (const message of messages) {
    if (message.role === 'tool') continue;
    closed.push(message);
    if (message.role !== 'assistant') continue;
    for (const call of message.tool_calls ?? []) closed.push(answers.get(call.id) ?? abortedCall(call.id));
  }
  return closed;
}

/** The reason why a model server would refuse these messages as one turn; `undefined` if it would not. */
export function transcriptFault(messages: readonly ModelMessage[]): string | undefined {
  if (messages[0]?.role !== 'user') return 'it does not start with the user';
  if (messages.at(-1)?.role !== 'assistant') return 'it does not end with the assistant';
  let open: string[] = [];
  for (const [index, message] of messages.entries()) {
    if (message.role === 'tool') {
      if (!open.includes(message.tool_call_id)) return `message ${index} answers no open call`;
      open = open.filter((id) => id !== message.tool_call_id);
      continue;
    }
    if (open.length > 0) return `call ${open[0]} is not answered before message ${index}`;
    if (message.role === 'system') return `message ${index} is a system message`;
    if (message.role === 'user' && index > 0) return `message ${index} is a second user message`;
    if (message.role === 'assistant') {
      open = (message.tool_calls ?? []).map((call) => call.id);
      if (new Set(open).size !== open.length) return `message ${index} uses a call id twice`;
    }
  }
  return open.length > 0 ? `call ${open[0]} is not answered` : undefined;
}
