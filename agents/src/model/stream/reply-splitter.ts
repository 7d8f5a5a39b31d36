// One streamed answer of a model, taken apart as it arrives: text for the user goes out at once, each tool call as soon as it
// is whole, and the whole assistant message stands at the end. Synchronous and without timers; `split-tool-stream.ts` is the
// loop that feeds it and the two branches that carry what it gives out.
import { FabricError } from '@fame-fabric/shared';
import type { AssistantMessage, FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model.ts';
import { type CallSlot, CallSlots } from './call-slots.ts';
import { MAX_ARGUMENT_DEPTH, type ParsedToolCall, parseArguments } from './parse-arguments.ts';
import { TextBuilder } from './text-builder.ts';

export interface UserText {
  text: string;
  /** `content` is the answer itself; `tool` is the text for the user inside a tool call. */
  source: 'content' | 'tool';
  toolCallId?: string;
  index?: number;
}

/** A fault of the model server that the answer survived. */
export interface ProtocolWarning {
  type: 'protocol_warning';
  message: string;
  toolCallId?: string;
}

export interface ReplySink {
  text(item: UserText): void;
  call(call: ParsedToolCall): void;
  warning(warning: ProtocolWarning): void;
}

export interface ReplyOptions {
  toUserKey: string | null;
  separator: string;
  choice: number;
  maxArgumentChars: number;
  maxContentChars: number;
  maxCalls: number;
  /** Names the call at a place of the reply. @default the server's id */
  callId?: ((index: number) => string) | undefined;
}

export interface Reply {
  message: AssistantMessage;
  finish: FinishReason;
  usage?: Usage;
  /** Text that came after the complete arguments of a call, by the call's id; only for calls that had some. */
  trailing?: ReadonlyMap<string, string>;
}

const isHighSurrogate = (c: number): boolean => (c & 0xfc00) === 0xd800;

export class ReplySplitter {
  readonly #content = new TextBuilder();
  /** A high surrogate at the end of the content whose partner has not come yet. */
  #heldContent = '';
  readonly #slots: CallSlots;
  #finish: FinishReason | undefined;
  #usage: Usage | undefined;
  #nextIndex = 0;
  readonly #ready = new Map<number, ParsedToolCall>();
  /** The call whose text goes to the user now; the others' text waits until it has ended. */
  #speaker: CallSlot | undefined;
  #anyToolText = false;
  #warnedLate = false;
  readonly #options: ReplyOptions;
  readonly #sink: ReplySink;

  constructor(options: ReplyOptions, sink: ReplySink) {
    this.#options = options;
    this.#sink = sink;
    this.#slots = new CallSlots(options.toUserKey, (slot) => this.#end(slot, false), options.callId);
  }

  /** The first finish reason, once it came. */
  get finish(): FinishReason | undefined {
    return this.#finish;
  }

  /**
   * Takes the next chunk.
   * @throws {BUFFER_OVERFLOW} when the answer has more text or more calls than allowed
   */
  push(chunk: ModelChunk): void {
    if (chunk.usage) this.#usage = chunk.usage;
    const choices = chunk.choices;
    if (choices === undefined || choices === null) return;
    for (let position = 0; position < choices.length; position += 1) {
      const choice = choices[position]!;
      if ((choice.index ?? position) !== this.#options.choice) continue;
      const { content, tool_calls: calls } = choice.delta ?? {};
      if (this.#finish !== undefined) {
        if (content || calls?.length) this.#warnLate();
        continue;
      }
      if (content) this.#addContent(content);
      if (calls) for (let n = 0; n < calls.length; n += 1) this.#addCall(calls[n]!);
      if (choice.finish_reason) this.#close(choice.finish_reason, choice.finish_reason);
    }
  }

  /** Says that the source ended. Calls that are still open are given out as truncated if no finish reason came. */
  sourceEnded(): void {
    if (this.#finish === undefined) this.#close(undefined, 'source end');
  }

  /** The whole answer so far; undefined while no finish reason came. */
  reply(): Reply | undefined {
    if (this.#finish === undefined) return undefined;
    const calls = this.#slots.all.toSorted((a, b) => a.index - b.index);
    const message: AssistantMessage = {
      role: 'assistant',
      content:
        this.#content.length === 0 && calls.length > 0 ? null : this.#content.toString().toWellFormed(),
    };
    if (calls.length > 0) {
      message.tool_calls = calls.map(({ id, name, raw }) => {
        const text = raw.toString();
        // Some model servers parse the arguments of the history and refuse an empty text.
        return { id, type: 'function', function: { name, arguments: text.trim() === '' ? '{}' : text } };
      });
    }
    const reply: Reply = { message, finish: this.#finish };
    if (this.#usage) reply.usage = this.#usage;
    const trailing = calls.filter((call) => call.trailing.trim() !== '');
    if (trailing.length > 0) reply.trailing = new Map(trailing.map((call) => [call.id, call.trailing]));
    return reply;
  }

  #addContent(content: string): void {
    this.#content.add(content);
    if (this.#content.length > this.#options.maxContentChars) {
      throw new FabricError('BUFFER_OVERFLOW', `The answer is longer than ${this.#options.maxContentChars}`);
    }
    let text = this.#heldContent === '' ? content : this.#heldContent + content;
    this.#heldContent = '';
    if (isHighSurrogate(text.charCodeAt(text.length - 1))) {
      this.#heldContent = text.slice(-1);
      text = text.slice(0, -1);
    }
    if (text !== '') this.#sink.text({ text: text.toWellFormed(), source: 'content' });
  }

  #flushContent(): void {
    if (this.#heldContent === '') return;
    this.#heldContent = '';
    this.#sink.text({ text: '\ufffd', source: 'content' });
  }

  #addCall(delta: ToolCallDelta): void {
    const given: unknown = delta.function?.arguments;
    // Arguments as an object instead of a text: seen from servers that only imitate the API.
    const text = typeof given === 'string' ? given : given == null ? '' : JSON.stringify(given);
    const slot = this.#slots.slotOf(delta, text);
    if (this.#slots.all.length > this.#options.maxCalls) {
      throw new FabricError(
        'BUFFER_OVERFLOW',
        `The answer has more than ${this.#options.maxCalls} tool calls`,
      );
    }
    if (text === '' || slot.tooLarge) return;
    if (slot.tap.closed || slot.ended) {
      this.#warnTrailing(slot, text);
      return;
    }
    const userText = slot.tap.feed(text);
    const taken = slot.tap.consumed;
    slot.raw.add(taken === text.length ? text : text.slice(0, taken));
    if (userText !== '') this.#addToolText(slot, userText);
    if (slot.raw.length > this.#options.maxArgumentChars) {
      slot.tooLarge = true;
      slot.raw = new TextBuilder(slot.raw.toString().slice(0, this.#options.maxArgumentChars));
    }
    if (slot.tap.closed) {
      this.#end(slot, false);
      if (taken < text.length) this.#warnTrailing(slot, text.slice(taken));
    }
  }

  #addToolText(slot: CallSlot, text: string): void {
    this.#speaker ??= slot;
    if (this.#speaker === slot) this.#say(slot, text);
    else slot.heldText += text;
  }

  #say(slot: CallSlot, text: string): void {
    let said = text;
    if (slot.toUser.length === 0) {
      if (this.#anyToolText) said = this.#options.separator + text;
      this.#anyToolText = true;
    }
    slot.toUser.add(text);
    this.#sink.text({ text: said, source: 'tool', toolCallId: slot.id, index: slot.index });
  }

  /** Ends one call: parses it, gives out its text and every call whose turn it is. */
  #end(slot: CallSlot, truncated: boolean): void {
    if (slot.ended) return;
    slot.ended = true;
    if (this.#speaker === slot) this.#speaker = undefined;
    while (this.#speaker === undefined) {
      const next = this.#nextToSpeak();
      if (next === undefined) break;
      const text = next.heldText;
      next.heldText = '';
      this.#speaker = next.ended ? undefined : next;
      this.#say(next, text);
    }
    this.#ready.set(slot.index, this.#parse(slot, truncated));
    this.#giveReady();
  }

  #nextToSpeak(): CallSlot | undefined {
    let next: CallSlot | undefined;
    for (const slot of this.#slots.all) {
      if (slot.heldText !== '' && (next === undefined || slot.index < next.index)) next = slot;
    }
    return next;
  }

  #giveReady(): void {
    for (let call = this.#ready.get(this.#nextIndex); call; call = this.#ready.get(this.#nextIndex)) {
      this.#ready.delete(this.#nextIndex);
      this.#nextIndex += 1;
      this.#sink.call(call);
    }
  }

  #parse(slot: CallSlot, truncated: boolean): ParsedToolCall {
    const { index, id, name, toUser, heldText } = slot;
    const rawArguments = slot.raw.toString();
    const spoken = toUser.toString() + heldText;
    const common = { index, id, name, rawArguments, ...(spoken === '' ? {} : { toUser: spoken }) };
    if (slot.tooLarge) {
      const message = `The arguments are longer than ${this.#options.maxArgumentChars} characters`;
      return { ok: false, ...common, error: { code: 'too_large', message } };
    }
    if (truncated && !slot.tap.closed && rawArguments.trim() !== '') {
      const message = `The answer was cut off inside the arguments, after ${rawArguments.length} characters`;
      return { ok: false, ...common, error: { code: 'truncated', message, at: rawArguments.length } };
    }
    if (slot.tap.deepest > MAX_ARGUMENT_DEPTH) {
      const message = `The arguments are nested deeper than ${MAX_ARGUMENT_DEPTH} levels`;
      return { ok: false, ...common, error: { code: 'too_large', message } };
    }
    const parsed = parseArguments(rawArguments, slot.tap.hasEscapedKey);
    if (!parsed.ok) return { ok: false, ...common, error: parsed.error };
    if (this.#options.toUserKey !== null) delete parsed.args[this.#options.toUserKey];
    return { ok: true, ...common, args: parsed.args };
  }

  /** Nothing more comes: ends every call in the order of their places. */
  #close(finish: FinishReason | undefined, reason: FinishReason | 'source end'): void {
    this.#finish = finish;
    this.#flushContent();
    const truncated = reason === 'length' || reason === 'content_filter' || reason === 'source end';
    const byIndex = this.#slots.all.toSorted((a, b) => a.index - b.index);
    for (const slot of byIndex) this.#end(slot, truncated);
    // A server whose numbers have gaps: what waited for a place that nobody took.
    const waiting = [...this.#ready.values()].toSorted((a, b) => a.index - b.index);
    this.#ready.clear();
    for (const call of waiting) this.#sink.call(call);
  }

  #warnTrailing(slot: CallSlot, text: string): void {
    const wasBlank = slot.trailing.trim() === '';
    if (slot.trailing.length < this.#options.maxArgumentChars) slot.trailing += text;
    if (!wasBlank || text.trim() === '') return;
    const message = 'Text came after the arguments of a tool call were complete; it was left out';
    this.#sink.warning({ type: 'protocol_warning', message, toolCallId: slot.id });
  }

  #warnLate(): void {
    if (this.#warnedLate) return;
    this.#warnedLate = true;
    this.#sink.warning({
      type: 'protocol_warning',
      message: 'Text came after the finish reason; it was left out',
    });
  }
}
