// The port of the store of agents: their key-value state, and the inbox of their durable requests. Values are opaque texts here;
// `agent/state` reads, limits and encrypts them, and `agent/durable` runs the requests. Once a method resolves, its write is as
// durable as the store can make it. `memory-agent-store.ts` and `sqlite/sqlite-agent-store.ts` implement the port and share
// `agent-store.conformance.ts`.

/** A text, and the id of the key that encrypted it. */
export interface SealedText {
  readonly text: string;
  /** Empty for a text that is not encrypted. */
  readonly keyId: string;
}

export interface StateEntry extends SealedText {
  readonly key: string;
  /** Changes with each write of the key, and is never used again. At least 1. */
  readonly version: number;
}

export interface StateWrite extends SealedText {
  /** Address of the agent. */
  readonly agent: string;
  readonly key: string;
  /** Writes only if this is the version of the entry; 0 if there must be none. @default any */
  readonly ifVersion?: number | undefined;
  /** Limit of the entries of the agent. */
  readonly maxKeys: number;
  /** Limit of all keys and values of the agent, in characters. */
  readonly maxChars: number;
}

export interface StateEntries {
  readonly entries: readonly StateEntry[];
  /** True if there are more after the last one. */
  readonly hasMore: boolean;
}

export interface StateListOptions {
  /** @default '' */
  readonly prefix?: string | undefined;
  /** Key after which the page begins. */
  readonly after?: string | undefined;
  readonly limit: number;
  /** Values that are longer together end the page early, in characters. A page has one entry at least. */
  readonly maxChars: number;
}

/** `open` until the request has an outcome. A dead request was given up: only a person runs it again. */
export type RequestState = 'open' | 'completed' | 'failed' | 'cancelled' | 'dead';

/** A request or message that an agent accepted before it acknowledged it. */
export interface StoredRequest {
  readonly agent: string;
  /** Idempotency id. Unique within the agent. */
  readonly id: string;
  /** Principal of the caller; empty if unknown. */
  readonly principal: string;
  /** Operation; empty for a message. */
  readonly method: string;
  /** Hash of the method and its parameters. */
  readonly digest: string;
  /** Empty after the request has ended, unless it is dead. */
  readonly params: SealedText;
  /** JSON of the receiver of the answer, of the latest call with this id. */
  readonly answerTo: string;
  readonly state: RequestState;
  /** Number of runs that were started and not released. */
  readonly attempt: number;
  /** Empty while the request is open. */
  readonly outcome: SealedText;
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
  readonly changedAt: number;
  /** Wall time at which the caller gives up; 0 for never. */
  readonly deadlineAt: number;
}

export interface NewRequest
  extends Pick<
    StoredRequest,
    'agent' | 'id' | 'principal' | 'method' | 'digest' | 'params' | 'answerTo' | 'deadlineAt'
  > {
  /** Limit of the requests of the agent that the store has, ended ones included. */
  readonly maxRequests: number;
  /** Limit of all their parameters and outcomes, in characters. */
  readonly maxChars: number;
}

/** `here`: this writer runs the request. `elsewhere`: another live writer does. */
export type RequestHold = 'here' | 'elsewhere' | 'none';

export interface AcceptedRequest {
  /** False if the store had the id already. */
  readonly isNew: boolean;
  readonly request: StoredRequest;
  readonly hold: RequestHold;
}

export interface StartedRequest {
  readonly request: StoredRequest;
  readonly isSpent: boolean;
}

export interface RequestEnd {
  readonly agent: string;
  readonly id: string;
  /** The attempt that ends; the end is refused after another writer has started the next one. */
  readonly attempt: number;
  readonly state: Exclude<RequestState, 'open'>;
  readonly outcome: SealedText;
}

export interface RequestListOptions {
  readonly agent?: string | undefined;
  readonly id?: string | undefined;
  readonly state?: RequestState | undefined;
  /** @default 100 */
  readonly limit?: number | undefined;
}

/** Time for which the outcome of a request is kept, in ms. Dead requests are kept for 30 days. */
export const OUTCOME_MS = 86_400_000;
export const DEAD_MS = 30 * 86_400_000;

/** Durable store of agents. Every method may reject with `STORE_UNAVAILABLE`, and those that add data with `STORE_FULL`. */
export interface AgentStore {
  /** Location of the store, for logs: a path, or `memory`. */
  readonly place: string;
  getState(agent: string, key: string): Promise<StateEntry | undefined>;
  /**
   * Writes an entry. Resolves to its version, or to `undefined` if `ifVersion` is not that of the entry.
   * @throws {QUOTA_EXCEEDED} at a limit
   */
  putState(write: StateWrite): Promise<number | undefined>;
  /** Resolves to `false` if there is no such entry, or if its version is not `ifVersion`. */
  deleteState(agent: string, key: string, ifVersion?: number): Promise<boolean>;
  /** Returns entries in the order of the UTF-8 bytes of their keys. */
  listState(agent: string, options: StateListOptions): Promise<StateEntries>;
  /** Returns the ids of the keys that encrypted state and requests of the agent. */
  keyIds(agent: string): Promise<readonly string[]>;
  /**
   * Accepts a request for this writer, or returns the one with its id. If that has the same digest and principal and is open, it
   * gets the new `answerTo`. @throws {QUOTA_EXCEEDED} at a limit
   */
  acceptRequest(request: NewRequest): Promise<AcceptedRequest>;
  /**
   * Starts the next attempt of an open request that no other live writer has. Resolves to `undefined` if there is none. After
   * `maxAttempts` attempts it takes the request without counting another one, and `isSpent` is true.
   */
  startRequest(agent: string, id: string, maxAttempts: number): Promise<StartedRequest | undefined>;
  /**
   * Leaves an open request to other writers. `isInterrupted` gives the attempt back: a stop of the agent interrupted it, and nothing
   * failed.
   */
  releaseRequest(agent: string, id: string, attempt: number, isInterrupted: boolean): Promise<void>;
  /** Records the outcome. Resolves to `false` if the request has one, or if another writer has taken it over. */
  endRequest(end: RequestEnd): Promise<boolean>;
  /** Takes over open requests that no live writer has, in the order of their acceptance. */
  adoptRequests(agent: string, limit: number): Promise<readonly StoredRequest[]>;
  getRequest(agent: string, id: string): Promise<StoredRequest | undefined>;
  /** Returns requests, latest change first. */
  listRequests(options?: RequestListOptions): Promise<readonly StoredRequest[]>;
  /** Opens a dead request again, with all of its attempts. Resolves to `false` if there is none. */
  reviveRequest(agent: string, id: string): Promise<boolean>;
  /** Deletes a request that is not open. Resolves to `false` if there is none. */
  removeRequest(agent: string, id: string): Promise<boolean>;
}

/** Text of QUOTA_EXCEEDED. `limit` is a number with its unit. */
export const stateQuota = (agent: string, limit: string): string =>
  `The state of ${agent} has reached its limit of ${limit}. Delete keys, or raise the limit in \`state\` of its declaration.`;

export const requestQuota = (agent: string, limit: string): string =>
  `The inbox of ${agent} has reached its limit of ${limit}. Outcomes are kept for 24 hours; send the request again later.`;
