// The journal: one row per event. Conversations and turns have their own tables, so that frequent queries do not scan the events.
export const sql = `
CREATE TABLE conversation (
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  agent TEXT NOT NULL,
  start_call TEXT NOT NULL,
  state TEXT NOT NULL,
  history_turns INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  turns INTEGER NOT NULL,
  chars INTEGER NOT NULL,
  totals TEXT NOT NULL,
  holder TEXT NOT NULL,
  lease_until INTEGER NOT NULL,
  fence INTEGER NOT NULL
) STRICT;
CREATE INDEX conversation_by_change ON conversation (changed_at, id);

CREATE TABLE event (
  conversation INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  turn_id TEXT,
  body TEXT NOT NULL,
  parts INTEGER NOT NULL,
  PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

-- Bodies of more than 64 KiB, in pieces.
CREATE TABLE part (
  conversation INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (conversation, seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE turn (
  conversation INTEGER NOT NULL,
  turn_id TEXT NOT NULL,
  state TEXT NOT NULL,
  accepted_seq INTEGER NOT NULL,
  ended_seq INTEGER NOT NULL,
  in_history INTEGER NOT NULL,
  PRIMARY KEY (conversation, turn_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX turn_open ON turn (conversation, accepted_seq) WHERE state = 'open';
CREATE INDEX turn_in_history ON turn (conversation, ended_seq) WHERE in_history = 1;
`;
