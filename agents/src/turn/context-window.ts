// A token-limited window on a long exchange. The oldest pieces are removed first; pinned pieces stay. A call and its results are one
// piece, so the window is always valid for model servers.
import type { ModelMessage } from '../model/model.ts';

/** Position of a pinned piece. `index` counts among the pieces that are not pinned to an end: from 0, or from -1 backwards. */
export type Pin =
  | { at: 'start' }
  | { at: 'end' }
  | { at: 'fixed'; index: number }
  /** 0 is before all pieces, 100 after them. */
  | { at: 'fixed'; percent: number }
  /** Stays where it was added; instead of being removed it moves to the end. */
  | { at: 'flowing' };

export interface ContextWindowOptions {
  /** Maximum tokens of all messages together. */
  maxTokens: number;
  /** The tokens of one message. @default a quarter of its characters, rounded up */
  count?: (message: ModelMessage) => number;
}

/** Messages that are kept or removed together. */
interface Piece {
  readonly messages: ModelMessage[];
  tokens: number;
  readonly flows: boolean;
  /** Ids of calls without a result. */
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

  /** Tokens of all messages in the window. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Fill level, from 0 to 1. */
  get fill(): number {
    return this.#tokens / this.#maxTokens;
  }

  /**
   * Adds a message and removes the oldest as needed; system messages stay. Returns false, and changes nothing, if it cannot fit
   * beside the pinned pieces, or if it is the result of a call that is not in the window.
   */
  append(message: ModelMessage): boolean {
    if (message.role === 'tool') return this.#answer(message.tool_call_id, message);
    if (message.role === 'system') return this.#keep(this.#system, this.#piece(message, false));
    return this.#flowIn(this.#piece(message, false));
  }

  /** Adds a message that stays. Returns false, and changes nothing, if it cannot fit beside the pinned pieces. */
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

  /** The messages to send: system messages, start pieces, the exchange with its fixed pieces, end pieces. */
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

  /** Tokens of everything that cannot be removed, except `piece`. */
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

  /** Removes the oldest pieces until the rest fits. `latest` stays: the caller has checked that it fits beside the pinned pieces. */
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
