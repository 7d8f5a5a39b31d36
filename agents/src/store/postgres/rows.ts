// Rows of the tables `conversation` and `event`: how they are read, and the records and events that are built from them.
import { cursorOf } from '../cursor.ts';
import {
  type ConversationRecord,
  type EndedTurnState,
  type EventBody,
  type EventKind,
  type JournalEvent,
  MAX_LEASE_MS,
  type StoredState,
} from '../store.ts';

export interface Row {
  key: number;
  id: string;
  public_id: string;
  agent: string;
  principal: string;
  shared_with: string[];
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
  trashed_at: number;
  forked_from: string;
  forked_at: string;
  is_ephemeral: boolean;
  last_outcome: EndedTurnState | '';
}

const COLUMN_NAMES = [
  'key',
  'id',
  'public_id',
  'agent',
  'principal',
  'shared_with',
  'start_call',
  'state',
  'history_turns',
  'started_at',
  'changed_at',
  'last_seq',
  'turns',
  'chars',
  'totals',
  'holder',
  'lease_until',
  'fence',
  'dormant_fence',
  'trashed_at',
  'forked_from',
  'forked_at',
  'is_ephemeral',
  'last_outcome',
] as const satisfies readonly (keyof Row)[];

/** The columns of `Row`, named: a prepared `*` fails after a later migration has added one. */
export const COLUMNS = COLUMN_NAMES.map((name) => `conversation.${name}`).join(', ');

export const recordOf = (row: Row): ConversationRecord => ({
  id: row.id,
  publicId: row.public_id,
  agent: row.agent,
  principal: row.principal,
  sharedWith: row.shared_with,
  startCallId: row.start_call,
  state: row.state,
  startedAt: row.started_at,
  changedAt: row.changed_at,
  lastSeq: row.last_seq,
  turns: row.turns,
  chars: row.chars,
  totals: JSON.parse(row.totals) as EventBody,
  trashedAt: row.trashed_at,
  ...(row.forked_from === ''
    ? {}
    : { forkedFrom: { conversationId: row.forked_from, turnId: row.forked_at } }),
  lastOutcome: row.last_outcome || undefined,
  isEphemeral: row.is_ephemeral,
});

/** True if the lease of the last writer has not expired. */
export const isLeased = ({ lease_until: until }: Pick<Row, 'lease_until'>, now: number): boolean =>
  until > now && until - now <= MAX_LEASE_MS;

/** An event with the acquisition that wrote it. */
export interface EventRow {
  seq: number;
  at: number;
  kind: EventKind;
  turn_id: string | null;
  body: string;
  fence: number | null;
  first_seq: number | null;
}

/** Adds to a table `e` of events the acquisition `a` that wrote each. */
export const JOIN_ACQUISITION = `LEFT JOIN LATERAL (
  SELECT fence, first_seq FROM acquisition WHERE conversation = e.conversation AND first_seq <= e.seq
  ORDER BY first_seq DESC, fence DESC LIMIT 1) a ON true`;
export const EVENT_COLUMNS = 'e.seq, e.at, e.kind, e.turn_id, e.body, a.fence, a.first_seq';

export function eventOf({
  seq,
  at,
  kind,
  turn_id: turnId,
  body: json,
  fence,
  first_seq: firstSeq,
}: EventRow): JournalEvent {
  const event = { seq, kind, at, turnId: turnId ?? undefined, body: JSON.parse(json) as EventBody };
  return { ...event, cursor: cursorOf({ fence: fence ?? 0, firstSeq: firstSeq ?? 0 }, event) };
}
