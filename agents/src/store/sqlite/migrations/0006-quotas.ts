// Use of the quotas of principals, and the count of an owner's open conversations, beside the tables of the earlier versions.
export const sql = `
CREATE TABLE quota (
  principal TEXT NOT NULL,
  unit TEXT NOT NULL,
  -- End of the period, in ms since the epoch.
  ends_at INTEGER NOT NULL,
  used REAL NOT NULL,
  reserved REAL NOT NULL,
  PRIMARY KEY (principal, unit, ends_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX quota_by_end ON quota (ends_at);

-- Counts the open conversations of an owner.
CREATE INDEX conversation_open_of_owner ON conversation (principal)
  WHERE trashed_at = 0 AND state IN ('working', 'input-required');
`;
