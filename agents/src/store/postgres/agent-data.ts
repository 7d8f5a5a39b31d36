// The operations of the store of agents: their key-value state and the inbox of their requests. Those that write run in a transaction
// that has locked the name of the agent, so the totals of an agent are those of its rows.
import { FabricError } from '@fame-fabric/shared';
import {
  type AcceptedRequest,
  type NewRequest,
  type RequestEnd,
  type RequestHold,
  type RequestListOptions,
  type RequestState,
  requestQuota,
  type StartedRequest,
  type StateEntries,
  type StateEntry,
  type StateListOptions,
  type StateWrite,
  type StoredRequest,
  stateQuota,
} from '../agent-store.ts';
import type { Sql } from './connection.ts';
import { livingOf } from './living.ts';
import type { Room } from './room.ts';
import type { Transaction } from './transaction.ts';

/** Follows every key with the same prefix: keys have no noncharacters. */
const LAST = '\u{10ffff}';

/** The name that writes to an agent's data lock. */
export const agentName = (agent: string): string => `agent:${agent}`;

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
const REQUEST_COLUMNS = `key, agent, id, principal, method, digest, params, params_key_id, answer_to, state, attempt, outcome,
  outcome_key_id, accepted_at, changed_at, deadline_at, holder`;
interface UsageRow {
  state_keys: number;
  state_chars: number;
  requests: number;
  request_chars: number;
  version: number;
}

export async function getState(sql: Sql, agent: string, key: string): Promise<StateEntry | undefined> {
  const row = await sql.get<StateRow>(
    'SELECT key, body, key_id, version FROM agent_state WHERE agent = $1 AND key = $2',
    agent,
    key,
  );
  return row && entryOf(row);
}

export async function putState(tx: Transaction, room: Room, write: StateWrite): Promise<number | undefined> {
  const { agent, key, text, keyId, ifVersion, maxKeys, maxChars } = write;
  const existing = await getState(tx.sql, agent, key);
  if (ifVersion !== undefined && ifVersion !== (existing?.version ?? 0)) return undefined;
  const usage = await usageOf(tx.sql, agent);
  const chars = existing ? text.length - existing.text.length : key.length + text.length;
  if (!existing && usage.state_keys >= maxKeys)
    throw new FabricError('QUOTA_EXCEEDED', stateQuota(agent, `${maxKeys} keys`));
  if (chars > 0) {
    if (usage.state_chars + chars > maxChars)
      throw new FabricError('QUOTA_EXCEEDED', stateQuota(agent, `${maxChars} characters`));
    room.assertNotFull(tx);
  }
  const version = usage.version + 1;
  await tx.sql.run(
    `INSERT INTO agent_state VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (agent, key) DO UPDATE SET body = excluded.body, key_id = excluded.key_id, version = excluded.version`,
    agent,
    key,
    text,
    keyId,
    version,
  );
  await addUsage(tx, agent, { state_keys: existing ? 0 : 1, state_chars: chars, version: 1 });
  return version;
}

export async function deleteState(
  tx: Transaction,
  agent: string,
  key: string,
  ifVersion: number | undefined,
): Promise<boolean> {
  const existing = await getState(tx.sql, agent, key);
  if (!existing || (ifVersion !== undefined && ifVersion !== existing.version)) return false;
  await tx.sql.run('DELETE FROM agent_state WHERE agent = $1 AND key = $2', agent, key);
  await addUsage(tx, agent, { state_keys: -1, state_chars: -(key.length + existing.text.length) });
  return true;
}

export async function listState(sql: Sql, agent: string, options: StateListOptions): Promise<StateEntries> {
  const { prefix = '', after = '', limit, maxChars } = options;
  const rows = await sql.all<StateRow>(
    `SELECT key, body, key_id, version FROM (
       SELECT *, row_number() OVER (ORDER BY key) AS n, sum(length(body)) OVER (ORDER BY key) AS sum
       FROM agent_state WHERE agent = $1 AND key >= $2 AND key < $3 AND key > $4 ORDER BY key LIMIT $5) AS page
     WHERE n = 1 OR sum - length(body) <= $6 ORDER BY key`,
    agent,
    prefix,
    prefix + LAST,
    after,
    limit + 1,
    maxChars,
  );
  const entries: StateEntry[] = [];
  let chars = 0;
  for (const row of rows) {
    chars += row.body.length;
    if (entries.length === limit || (chars > maxChars && entries.length > 0))
      return { entries, hasMore: true };
    entries.push(entryOf(row));
  }
  return { entries, hasMore: false };
}

export async function keyIds(sql: Sql, agent: string): Promise<string[]> {
  const rows = await sql.all<{ id: string }>(
    `SELECT DISTINCT key_id AS id FROM agent_state WHERE agent = $1 AND key_id <> ''
     UNION SELECT DISTINCT params_key_id FROM agent_request WHERE agent = $1 AND params_key_id <> ''
     UNION SELECT DISTINCT outcome_key_id FROM agent_request WHERE agent = $1 AND outcome_key_id <> ''`,
    agent,
  );
  return rows.map(({ id }) => id);
}

export async function acceptRequest(
  tx: Transaction,
  room: Room,
  holder: string,
  request: NewRequest,
): Promise<AcceptedRequest> {
  const { agent, id, principal, digest, params, answerTo, maxRequests, maxChars } = request;
  const existing = await requestRow(tx.sql, agent, id);
  if (existing) {
    const isSame = existing.digest === digest && existing.principal === principal;
    const hold = await holdOf(tx.sql, holder, existing);
    if (!isSame || existing.state !== 'open') return { isNew: false, request: requestOf(existing), hold };
    await tx.sql.run('UPDATE agent_request SET answer_to = $2 WHERE key = $1', existing.key, answerTo);
    return { isNew: false, request: requestOf({ ...existing, answer_to: answerTo }), hold };
  }
  const usage = await usageOf(tx.sql, agent);
  if (usage.requests >= maxRequests)
    throw new FabricError('QUOTA_EXCEEDED', requestQuota(agent, `${maxRequests} requests`));
  if (usage.request_chars + params.text.length > maxChars)
    throw new FabricError('QUOTA_EXCEEDED', requestQuota(agent, `${maxChars} characters of requests`));
  room.assertNotFull(tx);
  const row = await tx.sql.get<RequestRow>(
    `INSERT INTO agent_request (agent, id, principal, method, digest, params, params_key_id, answer_to, state, attempt, outcome,
       outcome_key_id, accepted_at, changed_at, deadline_at, holder, params_chars, outcome_chars)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', 0, '', '', $9, $9, $10, $11, $12, 0) RETURNING ${REQUEST_COLUMNS}`,
    agent,
    id,
    principal,
    request.method,
    digest,
    params.text,
    params.keyId,
    answerTo,
    tx.now,
    request.deadlineAt,
    holder,
    params.text.length,
  );
  await addUsage(tx, agent, { requests: 1, request_chars: params.text.length });
  return { isNew: true, request: requestOf(row!), hold: 'here' };
}

export async function startRequest(
  tx: Transaction,
  holder: string,
  agent: string,
  id: string,
  maxAttempts: number,
): Promise<StartedRequest | undefined> {
  const row = await requestRow(tx.sql, agent, id);
  if (row?.state !== 'open' || (await holdOf(tx.sql, holder, row)) === 'elsewhere') return undefined;
  const isSpent = row.attempt >= maxAttempts;
  const started = await tx.sql.get<RequestRow>(
    `UPDATE agent_request SET holder = $2, attempt = $3, changed_at = $4 WHERE key = $1 RETURNING ${REQUEST_COLUMNS}`,
    row.key,
    holder,
    row.attempt + (isSpent ? 0 : 1),
    tx.now,
  );
  return { request: requestOf(started!), isSpent };
}

export async function releaseRequest(
  tx: Transaction,
  holder: string,
  agent: string,
  id: string,
  attempt: number,
  isInterrupted: boolean,
): Promise<void> {
  await tx.sql.run(
    `UPDATE agent_request SET holder = '', attempt = $5
     WHERE agent = $1 AND id = $2 AND state = 'open' AND holder = $3 AND attempt = $4`,
    agent,
    id,
    holder,
    attempt,
    isInterrupted ? attempt - 1 : attempt,
  );
}

export async function endRequest(tx: Transaction, holder: string, end: RequestEnd): Promise<boolean> {
  const { agent, id, attempt, state, outcome } = end;
  const row = await requestRow(tx.sql, agent, id);
  if (row?.state !== 'open' || row.holder !== holder || row.attempt !== attempt) return false;
  const keepsParams = state === 'dead';
  const { text, keyId } = outcome;
  const params = keepsParams ? row.params : '';
  await tx.sql.run(
    `UPDATE agent_request SET state = $2, outcome = $3, outcome_key_id = $4, outcome_chars = $5, params = $6,
       params_key_id = $7, params_chars = $8, changed_at = $9, holder = '' WHERE key = $1`,
    row.key,
    state,
    text,
    keyId,
    text.length,
    params,
    keepsParams ? row.params_key_id : '',
    params.length,
    tx.now,
  );
  await addUsage(tx, agent, { request_chars: text.length - (row.params.length - params.length) });
  return true;
}

export async function adoptRequests(
  tx: Transaction,
  holder: string,
  agent: string,
  limit: number,
): Promise<readonly StoredRequest[]> {
  const holders = await tx.sql.all<{ holder: string }>(
    `SELECT DISTINCT holder FROM agent_request WHERE agent = $1 AND state = 'open' AND holder <> $2`,
    agent,
    holder,
  );
  const names = holders.map((row) => row.holder);
  const living = await livingOf(tx.sql, names);
  const free = names.filter((name) => !living.has(name));
  if (free.length === 0) return [];
  const rows = await tx.sql.all<RequestRow>(
    `UPDATE agent_request SET holder = $3 WHERE key IN (
       SELECT key FROM agent_request WHERE agent = $1 AND state = 'open' AND holder = ANY($2) ORDER BY key LIMIT $4)
     RETURNING ${REQUEST_COLUMNS}`,
    agent,
    free,
    holder,
    limit,
  );
  return rows.sort((a, b) => a.key - b.key).map(requestOf);
}

export async function getRequest(sql: Sql, agent: string, id: string): Promise<StoredRequest | undefined> {
  const row = await requestRow(sql, agent, id);
  return row && requestOf(row);
}

export async function listRequests(
  sql: Sql,
  options: RequestListOptions = {},
): Promise<readonly StoredRequest[]> {
  const { agent, id, state, limit = 100 } = options;
  const rows = await sql.all<RequestRow>(
    `SELECT ${REQUEST_COLUMNS} FROM agent_request
     WHERE ($1::text IS NULL OR agent = $1) AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR id = $3)
     ORDER BY changed_at DESC, key DESC LIMIT $4`,
    agent ?? null,
    state ?? null,
    id ?? null,
    limit,
  );
  return rows.map(requestOf);
}

export async function reviveRequest(tx: Transaction, agent: string, id: string): Promise<boolean> {
  const row = await requestRow(tx.sql, agent, id);
  if (row?.state !== 'dead') return false;
  await tx.sql.run(
    `UPDATE agent_request SET state = 'open', attempt = 0, outcome = '', outcome_key_id = '', outcome_chars = 0,
       deadline_at = 0, holder = '', changed_at = $2 WHERE key = $1`,
    row.key,
    tx.now,
  );
  await addUsage(tx, agent, { request_chars: -row.outcome.length });
  return true;
}

export async function removeRequest(tx: Transaction, agent: string, id: string): Promise<boolean> {
  const row = await requestRow(tx.sql, agent, id);
  if (!row || row.state === 'open') return false;
  await tx.sql.run('DELETE FROM agent_request WHERE key = $1', row.key);
  await addUsage(tx, agent, { requests: -1, request_chars: -(row.params.length + row.outcome.length) });
  return true;
}

const requestRow = (sql: Sql, agent: string, id: string): Promise<RequestRow | undefined> =>
  sql.get<RequestRow>(`SELECT ${REQUEST_COLUMNS} FROM agent_request WHERE agent = $1 AND id = $2`, agent, id);

async function holdOf(sql: Sql, own: string, { holder, state }: RequestRow): Promise<RequestHold> {
  if (state !== 'open' || holder === '') return 'none';
  if (holder === own) return 'here';
  return (await livingOf(sql, [holder])).size > 0 ? 'elsewhere' : 'none';
}

async function usageOf(sql: Sql, agent: string): Promise<UsageRow> {
  const row = await sql.get<UsageRow>(
    'SELECT state_keys, state_chars, requests, request_chars, version FROM agent_usage WHERE agent = $1',
    agent,
  );
  return row ?? { state_keys: 0, state_chars: 0, requests: 0, request_chars: 0, version: 0 };
}

async function addUsage(tx: Transaction, agent: string, change: Partial<UsageRow>): Promise<void> {
  const { state_keys = 0, state_chars = 0, requests = 0, request_chars = 0, version = 0 } = change;
  await tx.sql.run(
    `INSERT INTO agent_usage VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (agent) DO UPDATE SET
       state_keys = agent_usage.state_keys + $2, state_chars = agent_usage.state_chars + $3,
       requests = agent_usage.requests + $4, request_chars = agent_usage.request_chars + $5,
       version = agent_usage.version + $6`,
    agent,
    state_keys,
    state_chars,
    requests,
    request_chars,
    version,
  );
  tx.addUsedBytes(state_chars + request_chars);
}

const entryOf = ({ key, body, key_id: keyId, version }: StateRow): StateEntry => ({
  key,
  text: body,
  keyId,
  version,
});

const requestOf = (row: RequestRow): StoredRequest => ({
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
});
