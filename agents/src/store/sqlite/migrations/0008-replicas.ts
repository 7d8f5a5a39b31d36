// The secret with which the replicas of an agent authenticate the calls that they pass to each other.
export const sql = `
CREATE TABLE store_secret (
  key INTEGER PRIMARY KEY CHECK (key = 1),
  secret TEXT NOT NULL
) STRICT;
`;
