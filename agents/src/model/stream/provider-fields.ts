// Collects the fields that a model server adds to a message with calls, such as reasoning and signatures, because some servers
// refuse the next request without them.
import type { ProviderFields } from '../model.ts';
import type { CallSlot } from './call-slots.ts';
import { MAX_ARGUMENT_DEPTH } from './parse-arguments.ts';

/** Maximum characters of all fields of a message. Beyond it they are dropped. */
const MAX_PROVIDER_CHARS = 1_048_576;

type Fields = Record<string, unknown>;

/** Names of fields whose texts arrive in pieces. */
const REASONING = /^(?:reasoning|thinking)/;

/** Collects the fields of one reply. */
export class ProviderRecord {
  #left = MAX_PROVIDER_CHARS;
  readonly #onDropped: () => void;

  /** Calls `onDropped` when the fields are too large. They are then dropped as a whole: a server would refuse a part of them. */
  constructor(onDropped: () => void) {
    this.#onDropped = onDropped;
  }

  /** Adds the fields of the next piece to those before. */
  add(fields: Fields | undefined, more: Fields): Fields | undefined {
    if (this.#left < 0) return undefined;
    this.#left -= charsOf(more, 0);
    if (this.#left >= 0) return addFields(fields, more);
    this.#onDropped();
    return undefined;
  }

  /** Makes the record of a message with calls, or undefined if the server added nothing or too much. */
  of(message: Fields | undefined, slots: readonly CallSlot[]): ProviderFields | undefined {
    if (this.#left < 0) return undefined;
    const calls = slots.flatMap(({ id, wireId, name, extra }) => {
      // The id of some models names the function, and they expect it in the history.
      const isNamed = wireId !== undefined && wireId !== id && name !== '' && wireId.includes(name);
      if (!extra && !isNamed) return [];
      return [{ id, ...(isNamed ? { sentId: wireId } : {}), ...(extra ? { fields: extra } : {}) }];
    });
    if (message === undefined && calls.length === 0) return undefined;
    return { ...(message ? { message } : {}), ...(calls.length > 0 ? { calls } : {}) };
  }
}

/** Merges fields into `fields`: reasoning texts and lists are appended, objects are merged, other values are replaced. */
function addFields(fields: Fields | undefined, more: Fields): Fields {
  const merged: Fields = fields ?? {};
  for (const [key, value] of Object.entries(more)) put(merged, key, joined(key, get(merged, key), value));
  return merged;
}

function joined(key: string, before: unknown, value: unknown): unknown {
  if (typeof before === 'string' && typeof value === 'string')
    return REASONING.test(key) ? before + value : value;
  // Copies: the record grows in place, and a chunk belongs to its source.
  if (Array.isArray(value)) return Array.isArray(before) ? addItems(before, value) : [...value];
  if (isFields(value)) return addFields(isFields(before) ? before : {}, value);
  return value;
}

/** Appends items. An item with the index and the type of the last one continues it. */
function addItems(items: unknown[], more: readonly unknown[]): unknown[] {
  for (const item of more) {
    const last = items.at(-1);
    if (
      isFields(last) &&
      isFields(item) &&
      typeof item.index === 'number' &&
      last.index === item.index &&
      last.type === item.type
    ) {
      items[items.length - 1] = continued(last, item);
    } else items.push(item);
  }
  return items;
}

function continued(last: Fields, item: Fields): Fields {
  const whole: Fields = { ...last };
  for (const [key, value] of Object.entries(item)) {
    const before = get(last, key);
    const isText = key === 'text' || key === 'summary' || key === 'data';
    if (isText && typeof before === 'string' && typeof value === 'string') put(whole, key, before + value);
    else if (value !== null) put(whole, key, value);
  }
  return whole;
}

/** Approximate length of a value as JSON; infinite if it is nested too deeply. */
function charsOf(value: unknown, depth: number): number {
  if (typeof value === 'string') return value.length + 2;
  if (typeof value !== 'object' || value === null) return 8;
  if (depth > MAX_ARGUMENT_DEPTH) return Number.POSITIVE_INFINITY;
  let chars = 2;
  for (const [key, item] of Object.entries(value)) chars += key.length + 4 + charsOf(item, depth + 1);
  return chars;
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const get = (fields: Fields, key: string): unknown => (Object.hasOwn(fields, key) ? fields[key] : undefined);

/** An assignment to `__proto__` would set the prototype. */
function put(fields: Fields, key: string, value: unknown): void {
  Object.defineProperty(fields, key, { value, enumerable: true, configurable: true, writable: true });
}
