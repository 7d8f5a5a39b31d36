// The principal of a conversation, the trash, and the time of the store. All of it is added beside the tables of version 1, so
// programs of that version still open the file. They show trashed conversations as if they were not in the trash.
export const sql = `
ALTER TABLE conversation ADD COLUMN principal TEXT NOT NULL DEFAULT 'local';
-- Wall time of the move to the trash, in ms since the epoch; 0 if the conversation is not there.
ALTER TABLE conversation ADD COLUMN trashed_at INTEGER NOT NULL DEFAULT 0;
-- Running time of the store at that move.
ALTER TABLE conversation ADD COLUMN trashed_running_ms INTEGER NOT NULL DEFAULT 0;

CREATE INDEX conversation_trashed ON conversation (trashed_at, chars) WHERE trashed_at > 0;
CREATE INDEX conversation_ended ON conversation (principal <> 'anonymous', changed_at)
  WHERE trashed_at = 0 AND state IN ('completed', 'canceled');
CREATE INDEX conversation_of_anonymous ON conversation (changed_at) WHERE trashed_at = 0 AND principal = 'anonymous';

-- One row. wall_at is 0 before the first record.
CREATE TABLE store_time (
  wall_at INTEGER NOT NULL,
  running_ms INTEGER NOT NULL,
  held_until_ms INTEGER NOT NULL,
  -- The writer that keeps the time.
  keeper TEXT NOT NULL
) STRICT;
INSERT INTO store_time VALUES (0, 0, 0, '');
`;
