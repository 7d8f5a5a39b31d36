// Parses one streamed reply of a model: emits text for the user at once and each tool call as soon as it is complete, and
// assembles the assistant message. Synchronous and without timers. `read-reply.ts` and `split-tool-stream.ts` feed it.
import { FabricError } from '@fame-fabric/shared';
import { cutText, isHighSurrogate } from '@fame-fabric/shared/internal';
import type { AssistantMessage, FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model.ts';
import { type CallSlot, CallSlots } from './call-slots.ts';
import { LoneClosingTag } from './lone-closing-tag.ts';
import {
  MAX_ARGUMENT_DEPTH,
  type ParsedToolCall,
  parseArguments,
  truncatedFault,
} from './parse-arguments.ts';
import { ProviderRecord } from './provider-fields.ts';
import { TextBuilder } from './text-builder.ts';
import { ThinkTags } from './think-tags.ts';
import { userTextKey } from './user-text.ts';

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
  /** Receives the reasoning before the answer. It is not part of the answer. */
  reasoning?(text: string): void;
  call(call: ParsedToolCall): void;
  warning(warning: ProtocolWarning): void;
}

export interface ReplyOptions {
  toUserKey: string | null;
  toUserTools?: ReadonlySet<string> | undefined;
  separator: string;
  choice: number;
  maxArgumentChars: number;
  maxContentChars: number;
  maxCalls: number;
  /** Length of the text at which the reply is stopped, as if the server had stopped it. @default none */
  maxTextChars?: number | undefined;
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

const EMPTY_OBJECT = /^\s*\{\s*\}\s*$/;

export class ReplySplitter {
  /** True once the text has reached `maxTextChars`. The reply has the finish reason `length` then. */
  isFull = false;
  readonly #content = new TextBuilder();
  /** A high surrogate at the end of the content whose low surrogate has not arrived. */
  #heldContent = '';
  readonly #slots: CallSlots;
  /** The last finish reason. Some servers send one before the answer, so it counts only at the end of the source. */
  #finish: FinishReason | undefined;
  /** True if text or calls arrived after the last finish reason. */
  #hasMore = false;
  #isClosed = false;
  readonly #think: ThinkTags;
  readonly #closingTag = new LoneClosingTag((text) => this.#addText(text));
  #thinkChars = 0;
  readonly #provider: ProviderRecord;
  #extra: Record<string, unknown> | undefined;
  /** A call with the arguments `{}`. Some servers send its real arguments in the next piece. */
  #provisional: CallSlot | undefined;
  #isRefusal = false;
  #usage: Usage | undefined;
  #nextIndex = 0;
  readonly #ready = new Map<number, ParsedToolCall>();
  /** The call whose text is streamed now; the texts of other calls are held back until it ends. */
  #streaming: CallSlot | undefined;
  #anyToolText = false;
  readonly #options: ReplyOptions;
  readonly #sink: ReplySink;

  constructor(options: ReplyOptions, sink: ReplySink) {
    this.#options = options;
    this.#sink = sink;
    this.#slots = new CallSlots((tool) => userTextKey(options, tool), options.callId);
    this.#provider = new ProviderRecord(() =>
      sink.warning({
        type: 'protocol_warning',
        message: 'The fields that the server added to its message are too large, so they are not sent back',
      }),
    );
    this.#think = new ThinkTags({
      text: (text) => this.#closingTag.add(text),
      reasoning: (text) => sink.reasoning?.(text),
    });
  }

  /** The finish reason, if nothing arrived after it. */
  get finish(): FinishReason | undefined {
    return this.#hasMore ? undefined : this.#finish;
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
      const { content, refusal, reasoning, extra, tool_calls: calls } = choice.delta ?? {};
      if (content) this.#addContent(content);
      if (refusal) {
        this.#isRefusal = true;
        this.#addContent(refusal);
      }
      if (reasoning) this.#sink.reasoning?.(reasoning);
      if (extra) this.#extra = this.#provider.add(this.#extra, extra);
      if (calls) for (let n = 0; n < calls.length; n += 1) this.#addCall(calls[n]!);
      if (choice.finish_reason) this.#finishWith(choice.finish_reason);
    }
  }

  #finishWith(reason: FinishReason): void {
    // The first reason is more precise than a second one, unless text or calls followed it.
    if (this.#finish === undefined || this.#finish === 'stop' || this.#hasMore) this.#finish = reason;
    this.#hasMore = false;
  }

  /** Ends the reply and every open call, by index. Without a finish reason the open calls are emitted as truncated. */
  sourceEnded(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.isFull) this.#finish = 'length';
    this.#think.end(this.#finish === 'stop' && this.#slots.all.length === 0);
    this.#closingTag.end();
    this.#flushContent();
    const finish = this.#finish;
    const truncated = finish === undefined || finish === 'length' || finish === 'content_filter';
    const byIndex = this.#slots.all.toSorted((a, b) => a.index - b.index);
    for (const slot of byIndex) this.#end(slot, truncated);
    // The indexes of some servers have gaps: emit the calls after a gap.
    const waiting = [...this.#ready.values()].toSorted((a, b) => a.index - b.index);
    this.#ready.clear();
    for (const call of waiting) this.#sink.call(call);
  }

  /** Returns the whole reply, or undefined if the source has not ended or ended without a finish reason. */
  reply(): Reply | undefined {
    if (!this.#isClosed || this.#finish === undefined) return undefined;
    const finish = this.#finish;
    const calls = this.#slots.all.toSorted((a, b) => a.index - b.index);
    const message: AssistantMessage = {
      role: 'assistant',
      content:
        this.#content.length === 0 && calls.length > 0 ? null : this.#content.toString().toWellFormed(),
    };
    if (calls.length > 0) {
      message.tool_calls = calls.map(({ id, name, raw }) => {
        const text = raw.toString();
        // No arguments are `{}`, unless the reply was cut off before them.
        const isEmpty = text.trim() === '' && finish !== 'length' && finish !== 'content_filter';
        return { id, type: 'function', function: { name, arguments: isEmpty ? '{}' : text } };
      });
      const provider = this.#provider.of(this.#extra, calls);
      if (provider) message.provider = provider;
    }
    // The last piece of some servers repeats the arguments.
    const trailing = calls.filter(
      (call) => call.hasTrailing && call.trailing.trim() !== call.raw.toString().trim(),
    );
    return {
      message,
      finish: this.#isRefusal && finish === 'stop' ? 'refusal' : finish,
      usage: this.#usage,
      trailing: trailing.length > 0 ? new Map(trailing.map((call) => [call.id, call.trailing])) : undefined,
    };
  }

  #addContent(content: string): void {
    this.#hasMore = true;
    if (this.#think.isOver) {
      this.#closingTag.add(content);
      return;
    }
    this.#thinkChars += content.length;
    this.#checkLength(this.#thinkChars);
    this.#think.add(content);
  }

  #checkLength(chars: number): void {
    if (chars <= this.#options.maxContentChars) return;
    throw new FabricError(
      'BUFFER_OVERFLOW',
      `The reply is longer than ${this.#options.maxContentChars} characters`,
    );
  }

  #addText(given: string): void {
    if (this.isFull) return;
    let content = given;
    const { maxTextChars } = this.#options;
    if (maxTextChars !== undefined && this.#content.length + content.length > maxTextChars) {
      this.isFull = true;
      content = cutText(content, Math.max(0, maxTextChars - this.#content.length), '');
    }
    this.#content.add(content);
    this.#checkLength(this.#content.length);
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
    this.#hasMore = true;
    if (delta.extra) slot.extra = this.#provider.add(slot.extra, delta.extra);
    if (this.#provisional !== undefined) this.#settleProvisional(slot, text);
    if (this.#slots.all.length > this.#options.maxCalls) {
      throw new FabricError(
        'BUFFER_OVERFLOW',
        `The reply has more than ${this.#options.maxCalls} tool calls`,
      );
    }
    if (text === '' || slot.tooLarge) {
      this.#endIfWhole(slot);
      return;
    }
    if (slot.tap.closed || slot.ended) {
      this.#endIfWhole(slot);
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
      if (EMPTY_OBJECT.test(slot.raw.toString())) this.#provisional = slot;
      else this.#endIfWhole(slot);
      if (taken < text.length) this.#warnTrailing(slot, text.slice(taken));
    }
  }

  /** Ends a call whose arguments are complete. A call without a name stays open, because some servers send the name last. */
  #endIfWhole(slot: CallSlot): void {
    if (slot.tap.closed && slot.name !== '' && slot !== this.#provisional) this.#end(slot, false);
  }

  /** Ends the call with the arguments `{}`, unless the next piece brings its real ones. */
  #settleProvisional(next: CallSlot, text: string): void {
    const slot = this.#provisional!;
    if (next === slot && text.trim() === '') return;
    this.#provisional = undefined;
    if (next === slot && text.trimStart().startsWith('{')) this.#slots.restart(slot);
    else this.#endIfWhole(slot);
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
    if (truncated && !slot.tap.closed) return { ok: false, ...common, error: truncatedFault(rawArguments) };
    if (slot.tap.deepest > MAX_ARGUMENT_DEPTH) {
      const message = `The arguments are nested deeper than ${MAX_ARGUMENT_DEPTH} levels`;
      return { ok: false, ...common, error: { code: 'too_large', message } };
    }
    const parsed = parseArguments(rawArguments, slot.tap.hasEscapedKey);
    if (!parsed.ok) return { ok: false, ...common, error: parsed.error };
    const { args } = parsed;
    const key = userTextKey(this.#options, name);
    if (key !== null && Object.hasOwn(args, key)) {
      // The text of arguments that are encoded twice, or that came before the name, was not streamed.
      const text = args[key];
      if (streamed === '' && typeof text === 'string' && text !== '') {
        common.toUser = text;
        this.#addToolText(slot, text);
        if (this.#streaming === slot) this.#streaming = undefined;
      }
      delete args[key];
    }
    return { ok: true, ...common, args };
  }

  #warnTrailing(slot: CallSlot, text: string): void {
    if (slot.trailing.length < this.#options.maxArgumentChars) slot.trailing += text;
    if (slot.hasTrailing || text.trim() === '') return;
    slot.hasTrailing = true;
    const message = 'Text after the complete arguments of a tool call was ignored';
    this.#sink.warning({ type: 'protocol_warning', message, toolCallId: slot.id });
  }
}
