// Rows of the table `conversation`: how they are read, and the records that are built from them.
import { type EndedTurnState, type ForkPoint, MAX_LEASE_MS, type StoredState } from '../store.ts';
import type { Statements } from './statements.ts';

export interface Row {
  key: number;
  id: string;
  public_id: string;
  agent: string;
  start_call: string;
  state: StoredState;
  history_turns: number;
  started_at: number;
  changed_at: number;
  last_seq: number;
  turns: number;
  chars: number;
  totals: string;
  holder: string;
  lease_until: number;
  fence: number;
  dormant_fence: number;
  principal: string;
  /** A JSON array. */
  shared_with: string;
  trashed_at: number;
  forked_from: string;
  forked_at: string;
  is_ephemeral: number;
  last_outcome: EndedTurnState | '';
}

/** A `ConversationRecord` with its totals as JSON. */
export interface RawRecord {
  id: string;
  publicId: string;
  agent: string;
  principal: string;
  sharedWith: string[];
  startCallId: string;
  state: StoredState;
  startedAt: number;
  changedAt: number;
  lastSeq: number;
  turns: number;
  chars: number;
  totals: string;
  trashedAt: number;
  forkedFrom?: ForkPoint;
  lastOutcome: EndedTurnState | undefined;
  isEphemeral: boolean;
}

/** Returns a conversation that is not in the trash. */
export const rowOf = (sql: Statements, id: string): Row | undefined =>
  sql.get<Row>('SELECT * FROM conversation WHERE id = ? AND trashed_at = 0', id);

/** Returns a conversation that is not in the trash, by its public id. */
export const ownedRowOf = (
  sql: Statements,
  agent: string,
  principal: string,
  publicId: string,
): Row | undefined =>
  sql.get<Row>(
    `SELECT * FROM conversation INDEXED BY conversation_by_public_id
     WHERE public_id = ? AND agent = ? AND principal = ? AND trashed_at = 0`,
    publicId,
    agent,
    principal,
  );

/** Returns a conversation in the trash. */
export const trashedRowOf = (sql: Statements, id: string): Row | undefined =>
  sql.get<Row>('SELECT * FROM conversation WHERE id = ? AND trashed_at > 0', id);

export const recordOf = (row: Row): RawRecord => ({
  id: row.id,
  publicId: row.public_id,
  agent: row.agent,
  principal: row.principal,
  sharedWith: JSON.parse(row.shared_with) as string[],
  startCallId: row.start_call,
  state: row.state,
  startedAt: row.started_at,
  changedAt: row.changed_at,
  lastSeq: row.last_seq,
  turns: row.turns,
  chars: row.chars,
  totals: row.totals,
  trashedAt: row.trashed_at,
  ...(row.forked_from === ''
    ? {}
    : { forkedFrom: { conversationId: row.forked_from, turnId: row.forked_at } }),
  lastOutcome: row.last_outcome || undefined,
  isEphemeral: row.is_ephemeral === 1,
});

/** True if the lease of the last writer has not expired. */
export const isLeased = ({ lease_until: until }: Row, now: number): boolean =>
  until > now && until - now <= MAX_LEASE_MS;
