// Assigns each piece of a streamed tool call to its call. OpenAI numbers calls by `index` and sends each `id` once. Other
// servers of the same API omit the index, use 0 for every call, repeat the id in every piece, send it empty, or use the
// same id for two calls. In all of these cases every call gets one slot.
import { newId } from '@fame-fabric/shared';
import type { ToolCallDelta } from '../model.ts';
import { JsonTap } from './json-tap.ts';
import { TextBuilder } from './text-builder.ts';

/** One tool call while it arrives. */
export interface CallSlot {
  /** Index in the reply: the server's if it is free, else the next free one. */
  readonly index: number;
  /** The id from the `callId` option, else the server's id, made unique. */
  id: string;
  /** The id as the server sent it. */
  wireId: string | undefined;
  name: string;
  /** The argument text so far. */
  raw: TextBuilder;
  readonly tap: JsonTap;
  /** The text for the user so far. */
  toUser: TextBuilder;
  /** Text for the user that is held back until the call whose text is streamed now has ended. */
  heldText: string;
  tooLarge: boolean;
  ended: boolean;
  /** Text after the complete arguments, which is not part of them. */
  trailing: string;
}

const present = (text: string | null | undefined): string | undefined =>
  typeof text === 'string' && text !== '' ? text : undefined;

export class CallSlots {
  /** In the order of their first pieces. */
  readonly all: CallSlot[] = [];
  readonly #byWire = new Map<number, CallSlot>();
  readonly #taken = new Set<number>();
  readonly #ids = new Set<string>();
  #nextFree = 0;
  #last: CallSlot | undefined;
  #lastWire: number | undefined;
  readonly #key: string | null;
  readonly #onReplaced: (slot: CallSlot) => void;
  readonly #callId: ((index: number) => string) | undefined;

  /** `onReplaced` gets each slot whose wire index another call took: it receives no more pieces. */
  constructor(
    key: string | null,
    onReplaced: (slot: CallSlot) => void,
    callId: ((index: number) => string) | undefined,
  ) {
    this.#key = key;
    this.#onReplaced = onReplaced;
    this.#callId = callId;
  }

  /** Returns the slot of a piece, with its id and name. Opens it for the first piece of a call. */
  slotOf(delta: ToolCallDelta, text: string): CallSlot {
    // The common case: more arguments for the call of the last piece.
    if (this.#last !== undefined && delta.index === this.#lastWire && !delta.id && !delta.function?.name) {
      return this.#last;
    }
    const id = present(delta.id);
    const name = present(delta.function?.name);
    const wire = typeof delta.index === 'number' ? delta.index : undefined;
    let slot = wire === undefined ? this.#withoutIndex(id) : this.#byWire.get(wire);
    if (slot !== undefined && this.#isAnother(slot, id, name, text)) {
      if (wire !== undefined) this.#onReplaced(slot);
      slot = undefined;
    }
    slot ??= this.#open(wire, id);
    if (slot.wireId === undefined && id !== undefined) {
      slot.wireId = id;
      if (!this.#callId) slot.id = this.#unique(id);
    }
    if (slot.name === '' && name !== undefined) slot.name = name;
    this.#last = slot;
    this.#lastWire = wire;
    return slot;
  }

  #withoutIndex(id: string | undefined): CallSlot | undefined {
    if (id === undefined || this.#last?.wireId === id) return this.#last;
    return this.all.findLast((slot) => slot.wireId === id);
  }

  /** True if a piece for the slot's wire index begins another call. */
  #isAnother(slot: CallSlot, id: string | undefined, name: string | undefined, text: string): boolean {
    if (id !== undefined && slot.wireId !== undefined && id !== slot.wireId) return true;
    // Servers that send whole calls repeat the id, with a name and a new object after the first one was closed.
    return id !== undefined && name !== undefined && slot.tap.closed && text.trimStart().startsWith('{');
  }

  #open(wire: number | undefined, id: string | undefined): CallSlot {
    while (this.#taken.has(this.#nextFree)) this.#nextFree += 1;
    const index = wire === undefined || this.#taken.has(wire) ? this.#nextFree : wire;
    this.#taken.add(index);
    const slot: CallSlot = {
      index,
      id: this.#callId?.(index) ?? this.#unique(id ?? `call_${newId()}`),
      wireId: id,
      name: '',
      raw: new TextBuilder(),
      tap: new JsonTap(this.#key),
      toUser: new TextBuilder(),
      heldText: '',
      tooLarge: false,
      ended: false,
      trailing: '',
    };
    this.all.push(slot);
    if (wire !== undefined) this.#byWire.set(wire, slot);
    return slot;
  }

  /** Renames a repeated id to `id_2`, because calls in the history are matched by id. */
  #unique(id: string): string {
    let unique = id;
    for (let n = 2; this.#ids.has(unique); n += 1) unique = `${id}_${n}`;
    this.#ids.add(unique);
    return unique;
  }
}
