// Builds a response from the events of its turn: the events of the stream, and the response as it is after each of them. A pure
// function of the turn, so that each door writes the same items with the same numbers, at any time.
//
// Invariants: I1 a sequence number consists of a cursor of the turn and a slot, so that it does not depend on the sizes of
// the chunks. I2 sequence numbers rise. I3 an item is done before the response ends.
import type { DoneEvent, TurnUsage } from '@fame-fabric/client';
import {
  type AgentStepItem,
  type FunctionCallItem,
  itemIds,
  type MessageItem,
  newResponse,
  type OutputItem,
  outputText,
  type ResponseHead,
  type ResponseResource,
  type ResponseUsage,
  type TurnPlace,
} from './resource.ts';
import { type BuildEvent, type ErrorEvent, restOf } from './turn-events.ts';

/** An event of the stream. `type` is the name of the event as well. */
export interface StreamEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly [field: string]: unknown;
}

/** Numbers of one cursor. Its own events have the first ones; those that open a message have the last two of the cursor before. */
const SLOTS = 8;
/** Slot of the event of a call, after those that end a message. */
const CALL_SLOT = 3;
const OPENING_SLOT = 6;

/** From here on, cursors count the characters of a text. Smaller ones are those of agents of version 0.1. */
const FIRST_COUNTED = 2 ** 32;

/** The cursor up to which a reader has the text, if `number` is its last sequence number. */
export const cursorOf = (number: number): number => Math.floor(number / SLOTS);

export interface BuilderOptions {
  /** The last sequence number that the reader has. @default none */
  after?: number | undefined;
  /** Seconds since the epoch. */
  now: () => number;
}

export class ResponseBuilder {
  readonly #response: ResponseResource;
  readonly #idOf: ReturnType<typeof itemIds>;
  readonly #after: number;
  readonly #hasSteps: boolean;
  readonly #now: () => number;
  #events: StreamEvent[] = [];
  #number = -1;
  #cursor = 0;
  #text = '';
  #message: { item: MessageItem; index: number } | undefined;
  /** Steps of the agent that have not ended, by the id of their call, with their index. */
  readonly #steps = new Map<string, number>();

  constructor(head: ResponseHead, place: TurnPlace, { after = -1, now }: BuilderOptions) {
    this.#response = newResponse(head);
    this.#idOf = itemIds(place);
    this.#after = after;
    this.#hasSteps = head.hasSteps === true;
    this.#now = now;
  }

  /** The response so far. */
  get response(): ResponseResource {
    return this.#response;
  }

  /** Number of characters of the text so far. */
  get chars(): number {
    return this.#text.length;
  }

  /** The events that begin the stream. */
  begin(): StreamEvent[] {
    this.#send(0, { type: 'response.created', response: this.#snapshot() });
    this.#send(1, { type: 'response.in_progress', response: this.#snapshot() });
    return this.#taken();
  }

  /** Adds an event of the turn. Returns those of the stream that the reader does not have. */
  add(event: BuildEvent): StreamEvent[] {
    const cursor = event.seq ?? this.#cursor + 1;
    switch (event.type) {
      case 'text':
        this.#addText(event.text, cursor);
        break;
      case 'tool_call':
      case 'approval':
        this.#endMessage(cursor, 'completed');
        if (this.#hasSteps) this.#beginStep(event, cursor);
        break;
      case 'tool_result':
        this.#endStep(event.id ?? '', cursor, event.ok === false ? 'incomplete' : 'completed');
        break;
      case 'approval_answer':
        this.#endStep(event.id, cursor, 'completed');
        break;
      case 'done':
        this.#complete(event, cursor);
        break;
      case 'error':
        this.#fail(event, cursor);
        break;
      default: // Events without a place in a response: reasoning, waits, and restarts, which `settled` has applied.
    }
    this.#cursor = Math.max(this.#cursor, cursor);
    return this.#taken();
  }

  /** The event that ends a stream whose rest cannot be sent. */
  streamError(error: { code: string; message: string }): StreamEvent {
    const fields = { code: error.code, message: error.message, param: null };
    // OpenAI has the fields beside the type, Open Responses has them in `error`.
    return {
      type: 'error',
      sequence_number: this.#number + 1,
      ...fields,
      error: { type: 'server_error', ...fields },
    };
  }

  #addText(text: string, cursor: number): void {
    if (text === '') return;
    const isCounted = cursor >= FIRST_COUNTED;
    const before = cursor - (isCounted ? text.length : 1);
    if (!this.#message) this.#beginMessage(before * SLOTS + OPENING_SLOT);
    const { item, index } = this.#message!;
    const part = item.content[0]!;
    part.text += text;
    this.#text += text;
    const known = cursorOf(this.#after) - before;
    const delta = isCounted && known > 0 ? text.slice(known) : text;
    this.#send(cursor * SLOTS, {
      type: 'response.output_text.delta',
      item_id: item.id,
      output_index: index,
      content_index: 0,
      delta,
      logprobs: [],
    });
  }

  #beginMessage(number: number): void {
    const index = this.#response.output.length;
    const id = this.#idOf('msg', String(index));
    const item: MessageItem = { type: 'message', id, status: 'in_progress', role: 'assistant', content: [] };
    this.#response.output.push(item);
    this.#message = { item, index };
    this.#send(number, { type: 'response.output_item.added', output_index: index, item: { ...item } });
    item.content = [outputText('')];
    this.#send(number + 1, {
      type: 'response.content_part.added',
      item_id: id,
      output_index: index,
      content_index: 0,
      part: outputText(''),
    });
  }

  #endMessage(cursor: number, status: 'completed' | 'incomplete'): void {
    if (!this.#message) return;
    const { item, index } = this.#message;
    this.#message = undefined;
    item.status = status;
    const { text } = item.content[0]!;
    const place = { item_id: item.id, output_index: index, content_index: 0 };
    const number = cursor * SLOTS;
    this.#send(number, { type: 'response.output_text.done', ...place, text, logprobs: [] });
    this.#send(number + 1, { type: 'response.content_part.done', ...place, part: outputText(text) });
    this.#itemDone(number + 2, index);
  }

  #beginStep(
    { type, id = '', name = '', args }: { type: string; id?: string; name?: string; args?: object },
    cursor: number,
  ): void {
    const index = this.#response.output.length;
    const item: AgentStepItem = {
      type: type === 'approval' ? 'fame:approval_request' : 'fame:tool_call',
      id: this.#idOf('step', String(index)),
      status: 'in_progress',
      call_id: id,
      name,
      ...(args ? { arguments: JSON.stringify(args) } : {}),
    };
    this.#response.output.push(item);
    this.#steps.set(id, index);
    this.#itemAdded(cursor * SLOTS + CALL_SLOT, index);
  }

  #endStep(id: string, cursor: number, status: 'completed' | 'incomplete'): void {
    const index = this.#steps.get(id);
    if (index === undefined) return;
    this.#steps.delete(id);
    this.#response.output[index]!.status = status;
    this.#itemDone(cursor * SLOTS + CALL_SLOT, index);
  }

  #complete(done: DoneEvent, cursor: number): void {
    const { finish = 'stop', tool_calls: calls = [] } = done;
    const isCut = finish === 'length' || finish === 'content_filter';
    this.#addText(restOf(done, this.#text), cursor);
    if (this.#response.output.length === 0 && calls.length === 0) this.#beginMessage(cursor * SLOTS - 2);
    this.#endMessage(cursor, isCut ? 'incomplete' : 'completed');
    this.#endSteps(cursor);
    for (const { id, function: called } of calls) this.#addCall(id, called);
    this.#end(isCut ? 'incomplete' : 'completed', done.usage);
    if (isCut) {
      const reason = finish === 'length' ? 'max_output_tokens' : finish;
      this.#response.incomplete_details = { reason };
    }
    this.#sendNext({
      type: isCut ? 'response.incomplete' : 'response.completed',
      response: this.#snapshot(),
    });
  }

  #fail({ code, message, text }: ErrorEvent, cursor: number): void {
    if (text !== undefined) this.#addText(restOf({ type: 'done', text }, this.#text), cursor);
    this.#endMessage(cursor, 'incomplete');
    this.#endSteps(cursor);
    if (code === 'TURN_CANCELLED') {
      this.#end('cancelled');
      this.#sendNext({ type: 'response.incomplete', response: this.#snapshot() });
      return;
    }
    this.#end('failed');
    this.#response.error = { code, message };
    this.#sendNext({ type: 'response.failed', response: this.#snapshot() });
  }

  #endSteps(cursor: number): void {
    for (const id of this.#steps.keys()) this.#endStep(id, cursor, 'incomplete');
  }

  #addCall(callId: string, { name, arguments: args }: { name: string; arguments: string }): void {
    const index = this.#response.output.length;
    const item: FunctionCallItem = {
      type: 'function_call',
      id: this.#idOf('fc', String(index)),
      status: 'in_progress',
      call_id: callId,
      name,
      arguments: '',
    };
    this.#response.output.push(item);
    const place = { item_id: item.id, output_index: index };
    this.#sendNext({ type: 'response.output_item.added', output_index: index, item: { ...item } });
    this.#sendNext({ type: 'response.function_call_arguments.delta', ...place, delta: args });
    item.arguments = args;
    item.status = 'completed';
    this.#sendNext({ type: 'response.function_call_arguments.done', ...place, name, arguments: args });
    this.#sendNext({ type: 'response.output_item.done', output_index: index, item: { ...item } });
  }

  #end(status: ResponseResource['status'], usage?: TurnUsage): void {
    this.#response.status = status;
    this.#response.completed_at = this.#now();
    this.#response.usage = usageOf(usage);
  }

  #itemAdded(number: number, index: number): void {
    const item = { ...this.#response.output[index]! };
    this.#send(number, { type: 'response.output_item.added', output_index: index, item });
  }

  #itemDone(number: number, index: number): void {
    const item = copyOf(this.#response.output[index]!);
    this.#send(number, { type: 'response.output_item.done', output_index: index, item });
  }

  #sendNext(event: { type: string; [field: string]: unknown }): void {
    this.#send(this.#number + 1, event);
  }

  #send(number: number, { type, ...fields }: { type: string; [field: string]: unknown }): void {
    this.#number = Math.max(number, this.#number + 1);
    if (this.#number > this.#after) this.#events.push({ type, sequence_number: this.#number, ...fields });
  }

  #taken(): StreamEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #snapshot(): ResponseResource {
    return { ...this.#response, output: this.#response.output.map(copyOf) };
  }
}

const copyOf = (item: OutputItem): OutputItem =>
  item.type === 'message' ? { ...item, content: item.content.map((part) => ({ ...part })) } : { ...item };

export function usageOf(usage: TurnUsage = {}): ResponseUsage {
  const { prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0 } = usage;
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: { cached_tokens },
    output_tokens: completion_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: usage.total_tokens ?? prompt_tokens + completion_tokens,
  };
}
