// Assigns each piece of a streamed tool call to its call. OpenAI numbers calls by `index` and sends each `id` once. Other
// servers of the same API omit the index or the id, use 0 for every call, repeat the id in every piece, send a new id in every
// piece, or use the same id for two calls. The state of the arguments decides then: a piece without a name continues an open
// object, and a new name, or a named object after a closed one, begins the next call.
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
  tap: JsonTap;
  /** The text for the user so far. */
  toUser: TextBuilder;
  /** Text for the user that is held back until the call whose text is streamed now has ended. */
  heldText: string;
  tooLarge: boolean;
  ended: boolean;
  /** Fields that the API does not have. */
  extra: Record<string, unknown> | undefined;
  /** Text after the complete arguments, which is not part of them. */
  trailing: string;
  /** True if `trailing` is not blank. */
  hasTrailing: boolean;
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
  readonly #keyOf: (tool: string) => string | null;
  readonly #callId: ((index: number) => string) | undefined;

  /** `keyOf` returns the argument of a tool that holds text for the user. */
  constructor(keyOf: (tool: string) => string | null, callId: ((index: number) => string) | undefined) {
    this.#keyOf = keyOf;
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
    const before = this.#slotAt(wire, id);
    const isNext = before === undefined || isNextCall(before, delta, id, name, text);
    const slot = isNext ? this.#open(wire, id) : before;
    if (slot.wireId === undefined && id !== undefined) {
      slot.wireId = id;
      if (!this.#callId) slot.id = this.#unique(id);
    }
    if (name !== undefined && (slot.name === '' || isNamePart(slot, delta, name))) {
      slot.name += name;
      // The text of arguments that came before the name is emitted when the call is whole.
      if (slot.raw.length === 0) this.restart(slot);
    }
    this.#last = slot;
    this.#lastWire = wire;
    return slot;
  }

  /** Empties the arguments of a slot, for a server that sends them again. */
  restart(slot: CallSlot): void {
    slot.tap = new JsonTap(this.#keyOf(slot.name));
    slot.raw = new TextBuilder();
  }

  /** The slot that a piece belongs to, unless the piece begins another call. */
  #slotAt(wire: number | undefined, id: string | undefined): CallSlot | undefined {
    const slot = wire === undefined ? this.#last : this.#byWire.get(wire);
    if (id === undefined || slot === undefined || slot.wireId === id) return slot;
    return (
      this.all.findLast((other) => other.wireId === id && (wire === undefined || !other.tap.closed)) ?? slot
    );
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
      tap: new JsonTap(this.#keyOf('')),
      toUser: new TextBuilder(),
      heldText: '',
      tooLarge: false,
      ended: false,
      extra: undefined,
      trailing: '',
      hasTrailing: false,
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

/** True if a piece at the place of this slot begins another call. */
function isNextCall(
  slot: CallSlot,
  delta: ToolCallDelta,
  id: string | undefined,
  name: string | undefined,
  text: string,
): boolean {
  const begun = text.trimStart();
  const opensObject = begun.startsWith('{');
  const hasNewId = id !== undefined && slot.wireId !== undefined && id !== slot.wireId;
  // Some servers make a new id for every piece, so an id without a name begins a call only where none is open.
  if (name === undefined) return hasNewId && slot.tap.closed && opensObject;
  // Some servers send the name after the arguments.
  if (slot.name === '') return slot.tap.closed && (opensObject || hasNewId);
  if (slot.tap.isInside && begun !== '' && !opensObject) return false;
  if (hasNewId) return true;
  if (name !== slot.name) return !isNamePart(slot, delta, name);
  if (!opensObject || slot.raw.length === 0 || slot.tap.isInside) return false;
  // The last piece of some servers repeats the whole call.
  return id === undefined || slot.raw.toString().trim() !== begun.trimEnd();
}

/** True if a piece continues the name of a call: it has only a name, and the arguments have not begun. */
const isNamePart = (slot: CallSlot, { id, function: fn }: ToolCallDelta, name: string): boolean =>
  slot.raw.length === 0 && !id && fn?.arguments == null && slot.name !== '' && name !== slot.name;
