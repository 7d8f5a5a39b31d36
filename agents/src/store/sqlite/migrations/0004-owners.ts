// Conversations of several owners with the same id. All of it is added beside the tables of the earlier versions. Programs of those
// still open the file and find the conversations by `id`.
export const sql = `
-- The id that callers use, unique for an agent and an owner among the conversations outside the trash.
ALTER TABLE conversation ADD COLUMN public_id TEXT NOT NULL DEFAULT '';
UPDATE conversation SET public_id = id;
CREATE TRIGGER conversation_named AFTER INSERT ON conversation WHEN new.public_id = '' BEGIN
  UPDATE conversation SET public_id = new.id WHERE key = new.key;
END;
-- A JSON array of principals. Conversations of earlier programs could be used by every caller that knew the id.
ALTER TABLE conversation ADD COLUMN shared_with TEXT NOT NULL DEFAULT '["anonymous"]';

CREATE INDEX conversation_by_public_id ON conversation (public_id, agent, principal) WHERE trashed_at = 0;
CREATE INDEX conversation_of_owner ON conversation (principal, changed_at, id) WHERE trashed_at = 0;
CREATE INDEX conversation_chars ON conversation (principal, chars) WHERE trashed_at = 0;
CREATE INDEX retry_of_owner ON retry (agent, principal, at);
`;
