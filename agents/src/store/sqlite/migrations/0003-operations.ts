// Columns and tables for the operations on conversations. Programs of earlier versions can still open the file and write to it:
// triggers keep the new columns and tables consistent with their writes.
export const sql = `
-- The conversation and the turn that a fork was made at; empty for other conversations.
ALTER TABLE conversation ADD COLUMN forked_from TEXT NOT NULL DEFAULT '';
ALTER TABLE conversation ADD COLUMN forked_at TEXT NOT NULL DEFAULT '';

-- Ephemeral conversations are not listed, and deleted soon after their end.
ALTER TABLE conversation ADD COLUMN is_ephemeral INTEGER NOT NULL DEFAULT 0;
CREATE INDEX conversation_ephemeral ON conversation (changed_at) WHERE is_ephemeral = 1;

-- State of the turn that ended last; empty before the first one has ended.
ALTER TABLE conversation ADD COLUMN last_outcome TEXT NOT NULL DEFAULT '';
UPDATE conversation SET last_outcome = coalesce(
  (SELECT state FROM turn WHERE conversation = conversation.key AND state <> 'open' ORDER BY ended_seq DESC LIMIT 1), '');
CREATE TRIGGER turn_ended AFTER UPDATE OF state ON turn WHEN new.state <> 'open' BEGIN
  UPDATE conversation SET last_outcome = new.state WHERE key = new.conversation;
END;

-- The latest turn of each retry key.
CREATE TABLE retry (
  agent TEXT NOT NULL,
  principal TEXT NOT NULL,
  key TEXT NOT NULL,
  conversation INTEGER NOT NULL,
  turn_id TEXT NOT NULL,
  at INTEGER NOT NULL,
  -- 1 if a retry started the turn, so that the first request may still arrive.
  is_by_retry INTEGER NOT NULL,
  -- Id of the first request that joined the turn; empty before.
  joined_by TEXT NOT NULL,
  PRIMARY KEY (agent, principal, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX retry_by_time ON retry (at);
CREATE INDEX retry_of_conversation ON retry (conversation);
-- Keys of deleted conversations are used again.
CREATE TRIGGER retries_deleted AFTER DELETE ON conversation BEGIN
  DELETE FROM retry WHERE conversation = old.key;
END;

-- The acquisitions of a conversation: the rows from first_seq on were written under the fence, up to the next acquisition.
CREATE TABLE acquisition (
  conversation INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (conversation, fence)
) STRICT, WITHOUT ROWID;
CREATE INDEX acquisition_by_seq ON acquisition (conversation, first_seq);
CREATE TRIGGER acquisitions_deleted AFTER DELETE ON conversation BEGIN
  DELETE FROM acquisition WHERE conversation = old.key;
END;

-- Fence of the writer that left the conversation dormant: its open turns wait for a person. An acquisition ends it.
ALTER TABLE conversation ADD COLUMN dormant_fence INTEGER NOT NULL DEFAULT -1;
-- Finds the turn of an approval. Such bodies are never in parts.
CREATE INDEX event_approval ON event (conversation, json_extract(body, '$.call_id'))
  WHERE kind = 'approval_requested' AND parts = 0;
`;
