// The key-value state of an agent: JSON values in its store. A value whose `set` has resolved survives a crash.
import { FabricError } from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import type { AgentStore, StateEntry } from '../../store/agent-store.ts';
import type { StateKeys } from './state-keys.ts';

/** Longest key with its scopes, in bytes of UTF-8. */
const MAX_KEY_BYTES = 512;
/** Characters that no key has: control characters, halves of surrogate pairs, and noncharacters, which end the range of a prefix. */
const NOT_IN_KEYS = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u;
const MAX_PAGE = 1_000;
/** Values of one page, in characters. */
const MAX_PAGE_CHARS = 4_194_304;
/** Attempts of one update. Those of one process wait for each other, so only other processes interfere. */
const MAX_UPDATES = 32;

export interface StateLimits {
  /** Limit of keys of the agent. @default 10_000 */
  readonly maxKeys?: number | undefined;
  /** Longest value as JSON, in bytes. @default 65_536 */
  readonly maxValueBytes?: number | undefined;
  /** Limit of all keys and values of the agent, in characters. @default 67_108_864 */
  readonly maxChars?: number | undefined;
}

export interface StateListOptions {
  /** Key after which the page begins: `next` of the page before. */
  readonly after?: string | undefined;
  /** From 1 to 1_000. @default 100 */
  readonly limit?: number | undefined;
}

export interface StatePage<T> {
  readonly entries: readonly { readonly key: string; readonly value: T }[];
  /** Value of `after` for the next page; absent at the end. A page may be shorter than its limit although it has a next one. */
  readonly next?: string | undefined;
}

/**
 * State of an agent. Keys are texts of 1 to 512 bytes without control characters, values are JSON. Every method may reject with
 * STORE_UNAVAILABLE, and with STATE_INVALID for a key or value that is not allowed.
 */
export interface AgentState {
  /** Returns a copy of the value, or `undefined` if there is none. */
  get<T = unknown>(key: string): Promise<T | undefined>;
  /** Resolves when the value is on disk. @throws {QUOTA_EXCEEDED | STORE_FULL} at a limit */
  set(key: string, value: unknown): Promise<void>;
  /** Resolves to `false` if there was no value. */
  delete(key: string): Promise<boolean>;
  /**
   * Replaces a value atomically, also against other handlers and processes, and returns the new one. `change` receives the current
   * value and returns the next; `undefined` deletes it. It may be called again after another process changed the value, so it should
   * have no other effect. @throws {STORE_CONFLICT} if other processes changed it each time; and the errors of `set` and `change`
   */
  update<T = unknown>(
    key: string,
    change: (value: T | undefined) => T | undefined | Promise<T | undefined>,
  ): Promise<T | undefined>;
  /** Returns entries whose keys begin with `prefix`, in the order of their UTF-8 bytes. */
  list<T = unknown>(prefix?: string, options?: StateListOptions): Promise<StatePage<T>>;
  /** Returns the part of the state whose keys begin with `NAME/`, with keys without that prefix. Scopes may be nested. */
  scope(name: string): AgentState;
}

export class StoredState implements AgentState {
  readonly #store: AgentStore;
  readonly #agent: string;
  readonly #keys: StateKeys;
  readonly #limits: Required<{ [K in keyof StateLimits]: number }>;
  readonly #prefix: string;
  /** The last update of each key that is being updated. Scopes share it. */
  readonly #updates: Map<string, Promise<unknown>>;

  constructor(
    store: AgentStore,
    agent: string,
    keys: StateKeys,
    limits: StateLimits = {},
    scope: { prefix: string; updates: Map<string, Promise<unknown>> } = { prefix: '', updates: new Map() },
  ) {
    this.#store = store;
    this.#agent = agent;
    this.#keys = keys;
    const { maxKeys = 10_000, maxValueBytes = 65_536, maxChars = 67_108_864 } = limits;
    this.#limits = { maxKeys, maxValueBytes, maxChars };
    this.#prefix = scope.prefix;
    this.#updates = scope.updates;
  }

  async get<T = unknown>(key: string): Promise<T | undefined> {
    const full = this.#fullKey(key);
    const entry = await this.#store.getState(this.#agent, full);
    return entry && (this.#valueOf(entry) as T);
  }

  async set(key: string, value: unknown): Promise<void> {
    await this.#put(this.#fullKey(key), this.#textOf(key, value));
  }

  async delete(key: string): Promise<boolean> {
    return this.#store.deleteState(this.#agent, this.#fullKey(key));
  }

  async update<T = unknown>(
    key: string,
    change: (value: T | undefined) => T | undefined | Promise<T | undefined>,
  ): Promise<T | undefined> {
    const full = this.#fullKey(key);
    const before = this.#updates.get(full);
    const update = (async () => {
      await before?.catch(() => undefined);
      return this.#update(key, full, change);
    })();
    this.#updates.set(full, update);
    try {
      return await update;
    } finally {
      if (this.#updates.get(full) === update) this.#updates.delete(full);
    }
  }

  async #update<T>(
    key: string,
    full: string,
    change: (value: T | undefined) => T | undefined | Promise<T | undefined>,
  ): Promise<T | undefined> {
    for (let attempt = 0; attempt < MAX_UPDATES; attempt++) {
      const entry = await this.#store.getState(this.#agent, full);
      const next = await change(entry && (this.#valueOf(entry) as T));
      if (next === undefined) {
        if (!entry || (await this.#store.deleteState(this.#agent, full, entry.version))) return undefined;
      } else if ((await this.#put(full, this.#textOf(key, next), entry?.version ?? 0)) !== undefined) {
        return next;
      }
    }
    throw new FabricError(
      'STORE_CONFLICT',
      `Other processes changed the value of "${cutText(key, 64)}" ${MAX_UPDATES} times during its update.`,
    );
  }

  async list<T = unknown>(prefix = '', { after, limit = 100 }: StateListOptions = {}): Promise<StatePage<T>> {
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > MAX_PAGE)
      throw invalid(`The limit of a list is a whole number from 1 to ${MAX_PAGE}.`);
    const { entries: found, hasMore } = await this.#store.listState(this.#agent, {
      prefix: prefix === '' ? this.#prefix : this.#fullKey(prefix),
      ...(after === undefined ? {} : { after: this.#fullKey(after) }),
      limit,
      maxChars: MAX_PAGE_CHARS,
    });
    const entries = found.map((entry) => ({
      key: entry.key.slice(this.#prefix.length),
      value: this.#valueOf(entry) as T,
    }));
    return { entries, ...(hasMore ? { next: entries.at(-1)!.key } : {}) };
  }

  scope(name: string): AgentState {
    if (name === '' || name.includes('/')) throw invalid('The name of a scope is not empty and has no "/".');
    const scope = { prefix: `${this.#fullKey(name)}/`, updates: this.#updates };
    return new StoredState(this.#store, this.#agent, this.#keys, this.#limits, scope);
  }

  #put(key: string, text: string, ifVersion?: number): Promise<number | undefined> {
    const { maxKeys, maxChars } = this.#limits;
    const sealed = this.#keys.seal(text, { agent: this.#agent, kind: 'state', key });
    return this.#store.putState({ agent: this.#agent, key, ...sealed, ifVersion, maxKeys, maxChars });
  }

  #valueOf({ key, text, keyId }: StateEntry): unknown {
    return JSON.parse(this.#keys.open({ text, keyId }, { agent: this.#agent, kind: 'state', key }));
  }

  #fullKey(key: string): string {
    const full = this.#prefix + key;
    if (typeof key !== 'string' || key === '') throw invalid('A key is a text that is not empty.');
    if (Buffer.byteLength(full) > MAX_KEY_BYTES)
      throw invalid(`The key "${cutText(key, 64)}" is longer than ${MAX_KEY_BYTES} bytes with its scopes.`);
    if (NOT_IN_KEYS.test(full)) throw invalid('A key has no control characters and no broken Unicode.');
    return full;
  }

  #textOf(key: string, value: unknown): string {
    let text: string | undefined;
    let reason = 'it is not JSON';
    try {
      text = JSON.stringify(value);
    } catch (error) {
      reason = (error as Error).message;
    }
    const name = cutText(key, 64);
    if (text === undefined) throw invalid(`The value of "${name}" cannot be stored: ${reason}.`);
    const bytes = Buffer.byteLength(text);
    const { maxValueBytes } = this.#limits;
    if (bytes <= maxValueBytes) return text;
    throw invalid(
      `The value of "${name}" has ${bytes} bytes as JSON; the limit is ${maxValueBytes}. Split it, or raise maxValueBytes in \`state\` of the agent.`,
    );
  }
}

const invalid = (message: string): FabricError => new FabricError('STATE_INVALID', message);
