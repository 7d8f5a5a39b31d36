// The size of each owner, so that an event within a turn changes no index. An index over `chars` moved an entry for each event.
export const sql = `
DROP INDEX conversation_chars;
-- Conversations of an owner outside the trash, and the sum of their characters. \`local\` has no limit, so nothing reads its size.
-- Triggers count, so that writes of earlier programs count too.
CREATE TABLE owner (
  principal TEXT PRIMARY KEY,
  conversations INTEGER NOT NULL,
  chars INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO owner SELECT principal, count(*), sum(chars) FROM conversation
  WHERE trashed_at = 0 AND principal <> 'local' GROUP BY principal;

CREATE TRIGGER owner_grew AFTER UPDATE OF chars ON conversation
WHEN new.trashed_at = 0 AND old.trashed_at = 0 AND new.principal <> 'local' BEGIN
  UPDATE owner SET chars = chars + new.chars - old.chars WHERE principal = new.principal;
END;
CREATE TRIGGER owner_started AFTER INSERT ON conversation WHEN new.trashed_at = 0 AND new.principal <> 'local' BEGIN
  INSERT INTO owner VALUES (new.principal, 1, new.chars)
    ON CONFLICT DO UPDATE SET conversations = conversations + 1, chars = chars + excluded.chars;
END;
CREATE TRIGGER owner_restored AFTER UPDATE OF trashed_at ON conversation
WHEN new.trashed_at = 0 AND old.trashed_at > 0 AND new.principal <> 'local' BEGIN
  INSERT INTO owner VALUES (new.principal, 1, new.chars)
    ON CONFLICT DO UPDATE SET conversations = conversations + 1, chars = chars + excluded.chars;
END;
CREATE TRIGGER owner_trashed AFTER UPDATE OF trashed_at ON conversation
WHEN new.trashed_at > 0 AND old.trashed_at = 0 AND new.principal <> 'local' BEGIN
  UPDATE owner SET conversations = conversations - 1, chars = chars - old.chars WHERE principal = new.principal;
  DELETE FROM owner WHERE principal = new.principal AND conversations = 0;
END;
CREATE TRIGGER owner_deleted AFTER DELETE ON conversation WHEN old.trashed_at = 0 AND old.principal <> 'local' BEGIN
  UPDATE owner SET conversations = conversations - 1, chars = chars - old.chars WHERE principal = old.principal;
  DELETE FROM owner WHERE principal = old.principal AND conversations = 0;
END;
`;
