// The store of agents in memory: the full contract except durability. `MemoryStore` has one.
import { type Clock, FabricError } from '@fame-fabric/shared';
import {
  type AcceptedRequest,
  DEAD_MS,
  type NewRequest,
  OUTCOME_MS,
  type RequestEnd,
  type RequestHold,
  type RequestListOptions,
  requestQuota,
  type StartedRequest,
  type StateEntries,
  type StateEntry,
  type StateListOptions,
  type StateWrite,
  type StoredRequest,
  stateQuota,
} from './agent-store.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface HeldRequest extends Mutable<StoredRequest> {
  holder: string;
}

/** The data of one store, which its writers share. */
export class MemoryAgentData {
  /** By agent and key. */
  readonly state = new Map<string, Map<string, StateEntry>>();
  /** By agent and id, in the order of acceptance. */
  readonly requests = new Map<string, Map<string, HeldRequest>>();
  version = 0;

  /** Size of the data, in characters. */
  get chars(): number {
    let sum = 0;
    for (const agent of this.state.keys()) sum += this.stateChars(agent);
    for (const agent of this.requests.keys()) sum += this.requestChars(agent);
    return sum;
  }

  stateChars(agent: string): number {
    let sum = 0;
    for (const { key, text } of this.state.get(agent)?.values() ?? []) sum += key.length + text.length;
    return sum;
  }

  requestChars(agent: string): number {
    let sum = 0;
    for (const { params, outcome } of this.requests.get(agent)?.values() ?? [])
      sum += params.text.length + outcome.text.length;
    return sum;
  }

  /** Deletes outcomes and dead requests whose time has passed. */
  sweep(now: number): void {
    for (const requests of this.requests.values()) {
      for (const [id, { state, changedAt }] of requests) {
        if (state !== 'open' && changedAt <= now - (state === 'dead' ? DEAD_MS : OUTCOME_MS))
          requests.delete(id);
      }
    }
  }
}

export interface MemoryAgentDeps {
  readonly data: MemoryAgentData;
  readonly holder: string;
  readonly clock: Clock;
  isLiving(holder: string): boolean;
  /** @throws {STORE_FULL} */
  assertNotFull(): void;
  assertOpen(): void;
}

export class MemoryAgentStore {
  readonly #deps: MemoryAgentDeps;
  readonly #data: MemoryAgentData;

  constructor(deps: MemoryAgentDeps) {
    this.#deps = deps;
    this.#data = deps.data;
  }

  getState(agent: string, key: string): StateEntry | undefined {
    this.#deps.assertOpen();
    return this.#data.state.get(agent)?.get(key);
  }

  putState({ agent, key, text, keyId, ifVersion, maxKeys, maxChars }: StateWrite): number | undefined {
    const existing = this.getState(agent, key);
    if (ifVersion !== undefined && ifVersion !== (existing?.version ?? 0)) return undefined;
    const entries = mapIn(this.#data.state, agent);
    const chars = existing ? text.length - existing.text.length : key.length + text.length;
    if (!existing && entries.size >= maxKeys)
      throw new FabricError('QUOTA_EXCEEDED', stateQuota(agent, `${maxKeys} keys`));
    if (chars > 0) {
      if (this.#data.stateChars(agent) + chars > maxChars)
        throw new FabricError('QUOTA_EXCEEDED', stateQuota(agent, `${maxChars} characters`));
      this.#deps.assertNotFull();
    }
    const version = ++this.#data.version;
    entries.set(key, Object.freeze({ key, text, keyId, version }));
    return version;
  }

  deleteState(agent: string, key: string, ifVersion: number | undefined): boolean {
    const existing = this.getState(agent, key);
    if (!existing || (ifVersion !== undefined && ifVersion !== existing.version)) return false;
    return this.#data.state.get(agent)!.delete(key);
  }

  listState(agent: string, { prefix = '', after, limit, maxChars }: StateListOptions): StateEntries {
    this.#deps.assertOpen();
    const found = [...(this.#data.state.get(agent)?.values() ?? [])]
      .filter(({ key }) => key.startsWith(prefix) && (after === undefined || compare(key, after) > 0))
      .sort((a, b) => compare(a.key, b.key));
    let chars = 0;
    const end = found.findIndex(({ text }, i) => {
      chars += text.length;
      return i === limit || (chars > maxChars && i > 0);
    });
    return end < 0 ? { entries: found, hasMore: false } : { entries: found.slice(0, end), hasMore: true };
  }

  keyIds(agent: string): readonly string[] {
    this.#deps.assertOpen();
    const entries = [...(this.#data.state.get(agent)?.values() ?? [])];
    const requests = [...(this.#data.requests.get(agent)?.values() ?? [])];
    const texts = [...entries, ...requests.flatMap(({ params, outcome }) => [params, outcome])];
    return [...new Set(texts.map(({ keyId }) => keyId))].filter((id) => id !== '');
  }

  acceptRequest({ maxRequests, maxChars, ...request }: NewRequest): AcceptedRequest {
    this.#deps.assertOpen();
    const { agent, id, principal, digest, answerTo, params } = request;
    const requests = mapIn(this.#data.requests, agent);
    const existing = requests.get(id);
    if (existing) {
      const isSame = existing.digest === digest && existing.principal === principal;
      if (isSame && existing.state === 'open') existing.answerTo = answerTo;
      return { isNew: false, request: copyOf(existing), hold: this.#holdOf(existing) };
    }
    if (requests.size >= maxRequests)
      throw new FabricError('QUOTA_EXCEEDED', requestQuota(agent, `${maxRequests} requests`));
    if (this.#data.requestChars(agent) + params.text.length > maxChars)
      throw new FabricError('QUOTA_EXCEEDED', requestQuota(agent, `${maxChars} characters of requests`));
    this.#deps.assertNotFull();
    const now = this.#deps.clock.now();
    const accepted: HeldRequest = {
      ...request,
      state: 'open',
      attempt: 0,
      outcome: NO_TEXT,
      acceptedAt: now,
      changedAt: now,
      holder: this.#deps.holder,
    };
    requests.set(id, accepted);
    return { isNew: true, request: copyOf(accepted), hold: 'here' };
  }

  startRequest(agent: string, id: string, maxAttempts: number): StartedRequest | undefined {
    const request = this.#request(agent, id);
    if (request?.state !== 'open' || this.#holdOf(request) === 'elsewhere') return undefined;
    const isSpent = request.attempt >= maxAttempts;
    if (!isSpent) request.attempt += 1;
    request.holder = this.#deps.holder;
    request.changedAt = this.#deps.clock.now();
    return { request: copyOf(request), isSpent };
  }

  releaseRequest(agent: string, id: string, attempt: number, isInterrupted: boolean): void {
    const request = this.#request(agent, id);
    if (!this.#isOwn(request, attempt)) return;
    request.holder = '';
    if (isInterrupted) request.attempt = attempt - 1;
  }

  endRequest({ agent, id, attempt, state, outcome }: RequestEnd): boolean {
    const request = this.#request(agent, id);
    if (!this.#isOwn(request, attempt)) return false;
    Object.assign(request, { state, outcome, holder: '', changedAt: this.#deps.clock.now() });
    if (state !== 'dead') request.params = NO_TEXT;
    return true;
  }

  adoptRequests(agent: string, limit: number): readonly StoredRequest[] {
    this.#deps.assertOpen();
    const free = [...(this.#data.requests.get(agent)?.values() ?? [])]
      .filter((request) => request.state === 'open' && this.#holdOf(request) === 'none')
      .slice(0, limit);
    for (const request of free) request.holder = this.#deps.holder;
    return free.map(copyOf);
  }

  getRequest(agent: string, id: string): StoredRequest | undefined {
    const request = this.#request(agent, id);
    return request && copyOf(request);
  }

  listRequests({ agent, id, state, limit = 100 }: RequestListOptions = {}): readonly StoredRequest[] {
    this.#deps.assertOpen();
    return [...this.#data.requests.values()]
      .flatMap((requests) => [...requests.values()])
      .filter((request) => agent === undefined || request.agent === agent)
      .filter((request) => id === undefined || request.id === id)
      .filter((request) => state === undefined || request.state === state)
      .reverse()
      .sort((a, b) => b.changedAt - a.changedAt)
      .slice(0, limit)
      .map(copyOf);
  }

  reviveRequest(agent: string, id: string): boolean {
    const request = this.#request(agent, id);
    if (request?.state !== 'dead') return false;
    const changedAt = this.#deps.clock.now();
    Object.assign(request, {
      state: 'open',
      attempt: 0,
      outcome: NO_TEXT,
      deadlineAt: 0,
      holder: '',
      changedAt,
    });
    return true;
  }

  removeRequest(agent: string, id: string): boolean {
    const request = this.#request(agent, id);
    if (!request || request.state === 'open') return false;
    return this.#data.requests.get(agent)!.delete(id);
  }

  #request(agent: string, id: string): HeldRequest | undefined {
    this.#deps.assertOpen();
    return this.#data.requests.get(agent)?.get(id);
  }

  #isOwn(request: HeldRequest | undefined, attempt: number): request is HeldRequest {
    return request?.state === 'open' && request.holder === this.#deps.holder && request.attempt === attempt;
  }

  #holdOf({ holder, state }: HeldRequest): RequestHold {
    if (state !== 'open' || holder === '') return 'none';
    if (holder === this.#deps.holder) return 'here';
    return this.#deps.isLiving(holder) ? 'elsewhere' : 'none';
  }
}

const NO_TEXT = Object.freeze({ text: '', keyId: '' });

const copyOf = ({ holder: _, ...request }: HeldRequest): StoredRequest => request;

const compare = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

function mapIn<T>(maps: Map<string, Map<string, T>>, agent: string): Map<string, T> {
  const map = maps.get(agent) ?? new Map<string, T>();
  maps.set(agent, map);
  return map;
}
