// Parses one streamed reply of a model: emits text for the user at once and each tool call as soon as it is complete, and
// assembles the assistant message. Synchronous and without timers. `read-reply.ts` and `split-tool-stream.ts` feed it.
import { FabricError } from '@fame-fabric/shared';
import { isHighSurrogate } from '@fame-fabric/shared/internal';
import type { AssistantMessage, FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model.ts';
import { type CallSlot, CallSlots } from './call-slots.ts';
import { MAX_ARGUMENT_DEPTH, type ParsedToolCall, parseArguments } from './parse-arguments.ts';
import { TextBuilder } from './text-builder.ts';

export interface UserText {
  text: string;
  /** `content` for the reply itself, `tool` for text inside a tool call. */
  source: 'content' | 'tool';
  toolCallId?: string;
  index?: number;
}

/** A fault of the model server that the reply survived. */
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
  /** Returns the id of the call at an index of the reply. @default the server's id, made unique */
  callId?: ((index: number) => string) | undefined;
}

export interface Reply {
  message: AssistantMessage;
  finish: FinishReason;
  usage?: Usage | undefined;
  /** Text after the complete arguments of a call, by the call's id; only for calls that had some. */
  trailing?: ReadonlyMap<string, string> | undefined;
}

export class ReplySplitter {
  readonly #content = new TextBuilder();
  /** A high surrogate at the end of the content whose low surrogate has not arrived. */
  #heldContent = '';
  readonly #slots: CallSlots;
  #finish: FinishReason | undefined;
  #isRefusal = false;
  #usage: Usage | undefined;
  #nextIndex = 0;
  readonly #ready = new Map<number, ParsedToolCall>();
  /** The call whose text is streamed now; the texts of other calls are held back until it ends. */
  #streaming: CallSlot | undefined;
  #anyToolText = false;
  #warnedLate = false;
  readonly #options: ReplyOptions;
  readonly #sink: ReplySink;

  constructor(options: ReplyOptions, sink: ReplySink) {
    this.#options = options;
    this.#sink = sink;
    this.#slots = new CallSlots(options.toUserKey, (slot) => this.#end(slot, false), options.callId);
  }

  /** The first finish reason so far. */
  get finish(): FinishReason | undefined {
    return this.#finish;
  }

  /**
   * Processes the next chunk.
   * @throws {BUFFER_OVERFLOW} when the reply exceeds its limits of text or calls
   */
  push(chunk: ModelChunk): void {
    if (chunk.usage) this.#usage = chunk.usage;
    const choices = chunk.choices;
    if (choices === undefined || choices === null) return;
    for (let position = 0; position < choices.length; position += 1) {
      const choice = choices[position]!;
      if ((choice.index ?? position) !== this.#options.choice) continue;
      const { content, refusal, tool_calls: calls } = choice.delta ?? {};
      if (this.#finish !== undefined) {
        if (content || refusal || calls?.length) this.#warnLate();
        continue;
      }
      if (content) this.#addContent(content);
      if (refusal) {
        this.#isRefusal = true;
        this.#addContent(refusal);
      }
      if (calls) for (let n = 0; n < calls.length; n += 1) this.#addCall(calls[n]!);
      if (choice.finish_reason) this.#close(choice.finish_reason);
    }
  }

  /** Ends the reply. Without a finish reason the open calls are emitted as truncated. */
  sourceEnded(): void {
    if (this.#finish === undefined) this.#close(undefined);
  }

  /** Returns the whole reply, or undefined before the finish reason. */
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
        // Some model servers parse the arguments in the history and refuse an empty text.
        return { id, type: 'function', function: { name, arguments: text.trim() === '' ? '{}' : text } };
      });
    }
    const trailing = calls.filter((call) => call.trailing.trim() !== '');
    return {
      message,
      finish: this.#isRefusal && this.#finish === 'stop' ? 'refusal' : this.#finish,
      usage: this.#usage,
      trailing: trailing.length > 0 ? new Map(trailing.map((call) => [call.id, call.trailing])) : undefined,
    };
  }

  #addContent(content: string): void {
    this.#content.add(content);
    if (this.#content.length > this.#options.maxContentChars) {
      throw new FabricError(
        'BUFFER_OVERFLOW',
        `The reply is longer than ${this.#options.maxContentChars} characters`,
      );
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
    // Some servers that imitate the API send the arguments as an object.
    const text = typeof given === 'string' ? given : given == null ? '' : JSON.stringify(given);
    const slot = this.#slots.slotOf(delta, text);
    if (this.#slots.all.length > this.#options.maxCalls) {
      throw new FabricError(
        'BUFFER_OVERFLOW',
        `The reply has more than ${this.#options.maxCalls} tool calls`,
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
    this.#streaming ??= slot;
    if (this.#streaming === slot) this.#emit(slot, text);
    else slot.heldText += text;
  }

  #emit(slot: CallSlot, text: string): void {
    let emitted = text;
    if (slot.toUser.length === 0) {
      if (this.#anyToolText) emitted = this.#options.separator + text;
      this.#anyToolText = true;
    }
    slot.toUser.add(text);
    this.#sink.text({ text: emitted, source: 'tool', toolCallId: slot.id, index: slot.index });
  }

  /** Ends one call: parses it, emits the texts that it held back, and every call that is next in order. */
  #end(slot: CallSlot, truncated: boolean): void {
    if (slot.ended) return;
    slot.ended = true;
    if (this.#streaming === slot) this.#streaming = undefined;
    while (this.#streaming === undefined) {
      const next = this.#nextHeld();
      if (next === undefined) break;
      const text = next.heldText;
      next.heldText = '';
      this.#streaming = next.ended ? undefined : next;
      this.#emit(next, text);
    }
    this.#ready.set(slot.index, this.#parse(slot, truncated));
    this.#emitReady();
  }

  #nextHeld(): CallSlot | undefined {
    let next: CallSlot | undefined;
    for (const slot of this.#slots.all) {
      if (slot.heldText !== '' && (next === undefined || slot.index < next.index)) next = slot;
    }
    return next;
  }

  #emitReady(): void {
    for (let call = this.#ready.get(this.#nextIndex); call; call = this.#ready.get(this.#nextIndex)) {
      this.#ready.delete(this.#nextIndex);
      this.#nextIndex += 1;
      this.#sink.call(call);
    }
  }

  #parse(slot: CallSlot, truncated: boolean): ParsedToolCall {
    const { index, id, name, toUser, heldText } = slot;
    const rawArguments = slot.raw.toString();
    const streamed = toUser.toString() + heldText;
    const common = { index, id, name, rawArguments, toUser: streamed === '' ? undefined : streamed };
    if (slot.tooLarge) {
      const message = `The arguments are longer than ${this.#options.maxArgumentChars} characters`;
      return { ok: false, ...common, error: { code: 'too_large', message } };
    }
    if (truncated && !slot.tap.closed && rawArguments.trim() !== '') {
      const message = `The reply was cut off inside the arguments, after ${rawArguments.length} characters`;
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

  /** Ends the reply and every open call, by index. `finish` is undefined if the source ended without a finish reason. */
  #close(finish: FinishReason | undefined): void {
    this.#finish = finish;
    this.#flushContent();
    const truncated = finish === undefined || finish === 'length' || finish === 'content_filter';
    const byIndex = this.#slots.all.toSorted((a, b) => a.index - b.index);
    for (const slot of byIndex) this.#end(slot, truncated);
    // The indexes of some servers have gaps: emit the calls after a gap.
    const waiting = [...this.#ready.values()].toSorted((a, b) => a.index - b.index);
    this.#ready.clear();
    for (const call of waiting) this.#sink.call(call);
  }

  #warnTrailing(slot: CallSlot, text: string): void {
    const wasBlank = slot.trailing.trim() === '';
    if (slot.trailing.length < this.#options.maxArgumentChars) slot.trailing += text;
    if (!wasBlank || text.trim() === '') return;
    const message = 'Text after the complete arguments of a tool call was ignored';
    this.#sink.warning({ type: 'protocol_warning', message, toolCallId: slot.id });
  }

  #warnLate(): void {
    if (this.#warnedLate) return;
    this.#warnedLate = true;
    this.#sink.warning({
      type: 'protocol_warning',
      message: 'Text after the finish reason was ignored',
    });
  }
}
