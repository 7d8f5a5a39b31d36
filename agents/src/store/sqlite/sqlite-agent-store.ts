// The operations of the store of agents, in SQL. They are synchronous and run inside a transaction of the caller, like those in
// `sqlite-journal.ts`: an operation that throws StoreFault has written nothing.
import {
  type AcceptedRequest,
  DEAD_MS,
  type NewRequest,
  OUTCOME_MS,
  type RequestEnd,
  type RequestHold,
  type RequestListOptions,
  type RequestState,
  requestQuota,
  type StateEntries,
  type StateEntry,
  type StateListOptions,
  type StateWrite,
  type StoredRequest,
  stateQuota,
} from '../agent-store.ts';
import type { SweepOptions, SweepReport } from '../store.ts';
import { StoreFault } from './sqlite-database.ts';
import type { Statements } from './statements.ts';

/** Requests that one sweep deletes. */
const MAX_DELETED = 1_000;
/** Follows every key with the same prefix: keys have no noncharacters. */
const LAST = '\u{10ffff}';

export const AGENT_WRITES = [
  'putState',
  'deleteState',
  'acceptRequest',
  'startRequest',
  'releaseRequest',
  'endRequest',
  'reviveRequest',
  'removeRequest',
  'adoptRequests',
] as const;
export const AGENT_READS = ['getState', 'listState', 'keyIds', 'getRequest', 'listRequests'] as const;
export type AgentOperation = (typeof AGENT_WRITES)[number] | (typeof AGENT_READS)[number];

interface StateRow {
  key: string;
  body: string;
  key_id: string;
  version: number;
}
interface RequestRow {
  key: number;
  agent: string;
  id: string;
  principal: string;
  method: string;
  digest: string;
  params: string;
  params_key_id: string;
  answer_to: string;
  state: RequestState;
  attempt: number;
  outcome: string;
  outcome_key_id: string;
  accepted_at: number;
  changed_at: number;
  deadline_at: number;
  holder: string;
}
interface UsageRow {
  state_keys: number;
  state_chars: number;
  requests: number;
  request_chars: number;
  version: number;
}

export interface AgentStoreDeps {
  /** Id of this writer. */
  readonly holder: string;
  /** True if the process of a holder has ended. */
  isDead(holder: string): boolean;
  /** @throws {StoreFault} STORE_FULL */
  assertNotFull(): void;
}

export class SqliteAgentStore {
  readonly #sql: Statements;
  readonly #deps: AgentStoreDeps;

  constructor(sql: Statements, deps: AgentStoreDeps) {
    this.#sql = sql;
    this.#deps = deps;
  }

  /** Runs one operation of the port. */
  run(op: AgentOperation, now: number, args: readonly unknown[]): unknown {
    switch (op) {
      case 'getState':
        return this.#getState(...(args as [string, string]));
      case 'putState':
        return this.#putState(...(args as [StateWrite]));
      case 'deleteState':
        return this.#deleteState(...(args as [string, string, number | undefined]));
      case 'listState':
        return this.#listState(...(args as [string, StateListOptions]));
      case 'keyIds':
        return this.#keyIds(...(args as [string]));
      case 'acceptRequest':
        return this.#acceptRequest(now, ...(args as [NewRequest]));
      case 'startRequest':
        return this.#startRequest(now, ...(args as [string, string, number]));
      case 'releaseRequest':
        return this.#releaseRequest(...(args as [string, string, number, boolean]));
      case 'endRequest':
        return this.#endRequest(now, ...(args as [RequestEnd]));
      case 'adoptRequests':
        return this.#adoptRequests(...(args as [string, number]));
      case 'getRequest':
        return requestOf(this.#row(...(args as [string, string])));
      case 'listRequests':
        return this.#listRequests(...(args as [RequestListOptions | undefined]));
      case 'reviveRequest':
        return this.#reviveRequest(now, ...(args as [string, string]));
      case 'removeRequest':
        return this.#removeRequest(...(args as [string, string]));
    }
  }

  #getState(agent: string, key: string): StateEntry | undefined {
    const row = this.#sql.get<StateRow>(
      'SELECT key, body, key_id, version FROM agent_state WHERE agent = ? AND key = ?',
      agent,
      key,
    );
    return row && entryOf(row);
  }

  #putState(write: StateWrite): number | undefined {
    const { agent, key, text, keyId, ifVersion, maxKeys, maxChars } = write;
    const existing = this.#getState(agent, key);
    if (ifVersion !== undefined && ifVersion !== (existing?.version ?? 0)) return undefined;
    const usage = this.#usage(agent);
    const chars = existing ? text.length - existing.text.length : key.length + text.length;
    if (!existing && usage.state_keys >= maxKeys) {
      throw new StoreFault('QUOTA_EXCEEDED', stateQuota(agent, `${maxKeys} keys`));
    }
    if (chars > 0) {
      if (usage.state_chars + chars > maxChars)
        throw new StoreFault('QUOTA_EXCEEDED', stateQuota(agent, `${maxChars} characters`));
      this.#deps.assertNotFull();
    }
    const version = usage.version + 1;
    this.#sql.run(
      `INSERT INTO agent_state VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (agent, key) DO UPDATE SET body = excluded.body, key_id = excluded.key_id, version = excluded.version`,
      agent,
      key,
      text,
      keyId,
      version,
    );
    this.#addUsage(agent, { state_keys: existing ? 0 : 1, state_chars: chars, version: 1 });
    return version;
  }

  #deleteState(agent: string, key: string, ifVersion: number | undefined): boolean {
    const existing = this.#getState(agent, key);
    if (!existing || (ifVersion !== undefined && ifVersion !== existing.version)) return false;
    this.#sql.run('DELETE FROM agent_state WHERE agent = ? AND key = ?', agent, key);
    this.#addUsage(agent, { state_keys: -1, state_chars: -(key.length + existing.text.length) });
    return true;
  }

  #listState(agent: string, { prefix = '', after = '', limit, maxChars }: StateListOptions): StateEntries {
    const rows = this.#sql.iterate<StateRow>(
      `SELECT key, body, key_id, version FROM agent_state
       WHERE agent = ? AND key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?`,
      agent,
      prefix,
      prefix + LAST,
      after,
      limit + 1,
    );
    const entries: StateEntry[] = [];
    let chars = 0;
    for (const row of rows) {
      chars += row.body.length;
      if (entries.length === limit || (chars > maxChars && entries.length > 0)) {
        return { entries, hasMore: true };
      }
      entries.push(entryOf(row));
    }
    return { entries, hasMore: false };
  }

  #keyIds(agent: string): string[] {
    const rows = this.#sql.all<{ id: string }>(
      `SELECT DISTINCT key_id AS id FROM agent_state WHERE agent = ?1 AND key_id <> ''
       UNION SELECT DISTINCT params_key_id FROM agent_request WHERE agent = ?1 AND params_key_id <> ''
       UNION SELECT DISTINCT outcome_key_id FROM agent_request WHERE agent = ?1 AND outcome_key_id <> ''`,
      agent,
    );
    return rows.map(({ id }) => id);
  }

  #acceptRequest(now: number, request: NewRequest): AcceptedRequest {
    const { agent, id, principal, digest, params, answerTo, maxRequests, maxChars } = request;
    const existing = this.#row(agent, id);
    if (existing) {
      const isSame = existing.digest === digest && existing.principal === principal;
      if (isSame && existing.state === 'open')
        this.#sql.run('UPDATE agent_request SET answer_to = ? WHERE key = ?', answerTo, existing.key);
      return { isNew: false, request: requestOf(this.#row(agent, id))!, hold: this.#holdOf(existing) };
    }
    const usage = this.#usage(agent);
    if (usage.requests >= maxRequests)
      throw new StoreFault('QUOTA_EXCEEDED', requestQuota(agent, `${maxRequests} requests`));
    if (usage.request_chars + params.text.length > maxChars)
      throw new StoreFault('QUOTA_EXCEEDED', requestQuota(agent, `${maxChars} characters of requests`));
    this.#deps.assertNotFull();
    this.#sql.run(
      `INSERT INTO agent_request (agent, id, principal, method, digest, params, params_key_id, answer_to, state, attempt,
         outcome, outcome_key_id, accepted_at, changed_at, deadline_at, holder)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', 0, '', '', ?, ?, ?, ?)`,
      agent,
      id,
      principal,
      request.method,
      digest,
      params.text,
      params.keyId,
      answerTo,
      now,
      now,
      request.deadlineAt,
      this.#deps.holder,
    );
    this.#addUsage(agent, { requests: 1, request_chars: params.text.length });
    return { isNew: true, request: requestOf(this.#row(agent, id))!, hold: 'here' };
  }

  #startRequest(now: number, agent: string, id: string, maxAttempts: number) {
    const row = this.#row(agent, id);
    if (row?.state !== 'open' || this.#holdOf(row) === 'elsewhere') return undefined;
    const isSpent = row.attempt >= maxAttempts;
    this.#sql.run(
      'UPDATE agent_request SET holder = ?, attempt = ?, changed_at = ? WHERE key = ?',
      this.#deps.holder,
      row.attempt + (isSpent ? 0 : 1),
      now,
      row.key,
    );
    return { request: requestOf(this.#row(agent, id))!, isSpent };
  }

  #releaseRequest(agent: string, id: string, attempt: number, isInterrupted: boolean): void {
    this.#sql.run(
      `UPDATE agent_request SET holder = '', attempt = ?
       WHERE agent = ? AND id = ? AND state = 'open' AND holder = ? AND attempt = ?`,
      isInterrupted ? attempt - 1 : attempt,
      agent,
      id,
      this.#deps.holder,
      attempt,
    );
  }

  #endRequest(now: number, { agent, id, attempt, state, outcome }: RequestEnd): boolean {
    const row = this.#row(agent, id);
    if (row?.state !== 'open' || row.holder !== this.#deps.holder || row.attempt !== attempt) return false;
    const keepsParams = state === 'dead';
    const { text, keyId } = outcome;
    this.#sql.run(
      `UPDATE agent_request SET state = ?, outcome = ?, outcome_key_id = ?, params = ?, params_key_id = ?, changed_at = ?,
         holder = '' WHERE key = ?`,
      state,
      text,
      keyId,
      keepsParams ? row.params : '',
      keepsParams ? row.params_key_id : '',
      now,
      row.key,
    );
    this.#addUsage(agent, { request_chars: text.length - (keepsParams ? 0 : row.params.length) });
    return true;
  }

  #adoptRequests(agent: string, limit: number): StoredRequest[] {
    const { holder, isDead } = this.#deps;
    const holders = this.#sql
      .all<{ holder: string }>(
        `SELECT DISTINCT holder FROM agent_request WHERE agent = ? AND state = 'open' AND holder <> ?`,
        agent,
        holder,
      )
      .filter((row) => row.holder === '' || isDead(row.holder));
    if (holders.length === 0) return [];
    const keys = this.#sql.all<{ key: number }>(
      `SELECT key FROM agent_request WHERE agent = ? AND state = 'open' AND holder IN (SELECT value FROM json_each(?))
       ORDER BY key LIMIT ?`,
      agent,
      JSON.stringify(holders.map((row) => row.holder)),
      limit,
    );
    return keys.map(({ key }) => {
      this.#sql.run('UPDATE agent_request SET holder = ? WHERE key = ?', holder, key);
      return requestOf(this.#sql.get<RequestRow>('SELECT * FROM agent_request WHERE key = ?', key))!;
    });
  }

  #listRequests({ agent, id, state, limit = 100 }: RequestListOptions = {}): StoredRequest[] {
    const rows = this.#sql.all<RequestRow>(
      `SELECT * FROM agent_request WHERE (?1 IS NULL OR agent = ?1) AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR id = ?3)
       ORDER BY changed_at DESC, key DESC LIMIT ?4`,
      agent ?? null,
      state ?? null,
      id ?? null,
      limit,
    );
    return rows.map((row) => requestOf(row)!);
  }

  #reviveRequest(now: number, agent: string, id: string): boolean {
    const row = this.#row(agent, id);
    if (row?.state !== 'dead') return false;
    this.#sql.run(
      `UPDATE agent_request SET state = 'open', attempt = 0, outcome = '', outcome_key_id = '', deadline_at = 0,
         holder = '', changed_at = ? WHERE key = ?`,
      now,
      row.key,
    );
    this.#addUsage(agent, { request_chars: -row.outcome.length });
    return true;
  }

  #removeRequest(agent: string, id: string): boolean {
    const row = this.#row(agent, id);
    if (!row || row.state === 'open') return false;
    this.#delete(row);
    return true;
  }

  /** Sweeps the inbox after the conversations. Sweeps are on hold while the clock may be wrong. */
  sweepAfter(report: SweepReport, now: number, { trashedBefore }: SweepOptions): SweepReport {
    if (!trashedBefore) return report;
    const isDone = this.#sweep(now);
    return { ...report, isDone: report.isDone && isDone };
  }

  /** Deletes outcomes and dead requests whose time has passed. Returns false if more of them may be left. */
  #sweep(now: number): boolean {
    const rows = this.#sql.all<RequestRow>(
      `SELECT * FROM agent_request WHERE state <> 'open' AND changed_at <= ?
         AND (state <> 'dead' OR changed_at <= ?) ORDER BY changed_at LIMIT ?`,
      now - OUTCOME_MS,
      now - DEAD_MS,
      MAX_DELETED,
    );
    for (const row of rows) this.#delete(row);
    return rows.length < MAX_DELETED;
  }

  #delete({ key, agent, params, outcome }: RequestRow): void {
    this.#sql.run('DELETE FROM agent_request WHERE key = ?', key);
    this.#addUsage(agent, { requests: -1, request_chars: -(params.length + outcome.length) });
  }

  #row(agent: string, id: string): RequestRow | undefined {
    return this.#sql.get<RequestRow>('SELECT * FROM agent_request WHERE agent = ? AND id = ?', agent, id);
  }

  #holdOf({ holder, state }: RequestRow): RequestHold {
    if (state !== 'open' || holder === '') return 'none';
    if (holder === this.#deps.holder) return 'here';
    return this.#deps.isDead(holder) ? 'none' : 'elsewhere';
  }

  #usage(agent: string): UsageRow {
    const none = { state_keys: 0, state_chars: 0, requests: 0, request_chars: 0, version: 0 };
    return this.#sql.get<UsageRow>('SELECT * FROM agent_usage WHERE agent = ?', agent) ?? none;
  }

  #addUsage(agent: string, change: Partial<UsageRow>): void {
    const { state_keys = 0, state_chars = 0, requests = 0, request_chars = 0, version = 0 } = change;
    this.#sql.run(
      `INSERT INTO agent_usage VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (agent) DO UPDATE SET
         state_keys = state_keys + ?2, state_chars = state_chars + ?3,
         requests = requests + ?4, request_chars = request_chars + ?5, version = version + ?6`,
      agent,
      state_keys,
      state_chars,
      requests,
      request_chars,
      version,
    );
  }
}

const entryOf = ({ key, body, key_id, version }: StateRow): StateEntry => ({
  key,
  text: body,
  keyId: key_id,
  version,
});

const requestOf = (row: RequestRow | undefined): StoredRequest | undefined =>
  row && {
    agent: row.agent,
    id: row.id,
    principal: row.principal,
    method: row.method,
    digest: row.digest,
    params: { text: row.params, keyId: row.params_key_id },
    answerTo: row.answer_to,
    state: row.state,
    attempt: row.attempt,
    outcome: { text: row.outcome, keyId: row.outcome_key_id },
    acceptedAt: row.accepted_at,
    changedAt: row.changed_at,
    deadlineAt: row.deadline_at,
  };
