// What the operations on conversations need, beside the tables of the earlier versions: programs of those still open the file and
// write to it.
export const sql = `
-- The conversation and the turn that a fork was made at; empty for other conversations.
ALTER TABLE conversation ADD COLUMN forked_from TEXT NOT NULL DEFAULT '';
ALTER TABLE conversation ADD COLUMN forked_at TEXT NOT NULL DEFAULT '';
`;
