// The part of a long exchange that a model is sent: what fits into a number of tokens, the oldest leaving first, with pieces that
// stay whatever happens. A call and its results are one piece, so what is sent is always in the order that model servers accept.
import type { ModelMessage } from '../model/model.ts';

/** Where a pinned piece stands. `index` counts among the pieces that are not pinned to an end: from 0, or from -1 backwards. */
export type Pin =
  | { at: 'start' }
  | { at: 'end' }
  | { at: 'fixed'; index: number }
  /** 0 stands before all pieces, 100 behind them. */
  | { at: 'fixed'; percent: number }
  /** Stands where it was added; when it would be cut off it moves to the end instead. */
  | { at: 'flowing' };

export interface ContextWindowOptions {
  /** Most tokens of all messages together. */
  maxTokens: number;
  /** The tokens of one message. @default a quarter of its characters, rounded up */
  count?: (message: ModelMessage) => number;
}

/** Messages that stay or go together. */
interface Piece {
  readonly messages: ModelMessage[];
  tokens: number;
  readonly flows: boolean;
  /** Ids of calls whose results have not come. */
  readonly open: Set<string>;
}

const roughly = (message: ModelMessage): number => Math.ceil(JSON.stringify(message).length / 4);

export class ContextWindow {
  readonly #maxTokens: number;
  readonly #count: (message: ModelMessage) => number;
  readonly #system: Piece[] = [];
  readonly #start: Piece[] = [];
  readonly #end: Piece[] = [];
  readonly #fixed: { piece: Piece; pin: Extract<Pin, { at: 'fixed' }> }[] = [];
  #pieces: Piece[] = [];
  #tokens = 0;

  constructor(options: ContextWindowOptions) {
    this.#maxTokens = options.maxTokens;
    this.#count = options.count ?? roughly;
  }

  /** Tokens of what `messages()` gives. */
  get tokens(): number {
    return this.#tokens;
  }

  /** How full it is, from 0 to 1. */
  get fill(): number {
    return this.#tokens / this.#maxTokens;
  }

  /**
   * Adds a message and lets the oldest go as needed; system messages stay for good. Returns false, and changes nothing, if it
   * cannot fit beside what is pinned, or if it is the result of a call that is not here.
   */
  append(message: ModelMessage): boolean {
    if (message.role === 'tool') return this.#answer(message.tool_call_id, message);
    if (message.role === 'system') return this.#keep(this.#system, this.#piece(message, false));
    return this.#flowIn(this.#piece(message, false));
  }

  /** Adds a message that stays. Returns false, and changes nothing, if it cannot fit beside what is pinned already. */
  pin(message: ModelMessage, pin: Pin): boolean {
    const piece = this.#piece(message, pin.at === 'flowing');
    switch (pin.at) {
      case 'start':
        return this.#keep(this.#start, piece);
      case 'end':
        return this.#keep(this.#end, piece);
      case 'fixed':
        return this.#keep(this.#fixed, { piece, pin }, piece);
      case 'flowing':
        return this.#flowIn(piece);
    }
  }

  /** What is sent: system messages, the pieces of the start, the exchange with its fixed pieces, the pieces of the end. */
  messages(): ModelMessage[] {
    const whole = this.#pieces.filter((piece) => piece.open.size === 0);
    const middle = [...whole];
    for (const { piece, pin } of this.#fixed) middle.splice(placeOf(pin, middle.length), 0, piece);
    return [...this.#system, ...this.#start, ...middle, ...this.#end].flatMap((piece) => piece.messages);
  }

  #piece(message: ModelMessage, flows: boolean): Piece {
    const calls = message.role === 'assistant' ? (message.tool_calls ?? []) : [];
    return {
      messages: [message],
      tokens: this.#count(message),
      flows,
      open: new Set(calls.map(({ id }) => id)),
    };
  }

  /** Tokens of everything that cannot be cut off, besides `piece`. */
  #pinnedTokens(piece?: Piece): number {
    const kept = [...this.#system, ...this.#start, ...this.#end, ...this.#fixed.map((one) => one.piece)];
    const flowing = this.#pieces.filter((one) => one.flows);
    return [...kept, ...flowing].reduce((sum, one) => (one === piece ? sum : sum + one.tokens), 0);
  }

  #keep<T>(list: T[], item: T, piece: Piece = item as unknown as Piece): boolean {
    if (this.#pinnedTokens() + piece.tokens > this.#maxTokens) return false;
    list.push(item);
    this.#tokens += piece.tokens;
    this.#trim();
    return true;
  }

  #flowIn(piece: Piece): boolean {
    if (this.#pinnedTokens() + piece.tokens > this.#maxTokens) return false;
    this.#pieces.push(piece);
    this.#tokens += piece.tokens;
    this.#trim(piece);
    return true;
  }

  #answer(callId: string, message: ModelMessage): boolean {
    const piece = this.#pieces.findLast((one) => one.open.has(callId));
    if (!piece) return false;
    const tokens = this.#count(message);
    if (this.#pinnedTokens(piece) + piece.tokens + tokens > this.#maxTokens) return false;
    piece.messages.push(message);
    piece.open.delete(callId);
    piece.tokens += tokens;
    this.#tokens += tokens;
    this.#trim(piece);
    return true;
  }

  /** Lets the oldest go until all fits; `latest` stays. It fits at the latest when only it and pinned pieces are left. */
  #trim(latest?: Piece): void {
    const drifted: Piece[] = [];
    let at = 0;
    while (this.#tokens > this.#maxTokens) {
      const piece = this.#pieces[at]!;
      if (piece === latest) {
        at += 1;
        continue;
      }
      this.#pieces.splice(at, 1);
      if (piece.flows) drifted.push(piece);
      else this.#tokens -= piece.tokens;
    }
    this.#pieces.push(...drifted);
  }
}

/** The place of a fixed piece among `count` others. */
function placeOf(pin: Extract<Pin, { at: 'fixed' }>, count: number): number {
  const place =
    'percent' in pin
      ? Math.round((count * pin.percent) / 100)
      : pin.index < 0
        ? count + 1 + pin.index
        : pin.index;
  return Math.min(count, Math.max(0, place));
}
