// The times of batches. Their rows are kept after the death of their writer, because a paused process may still have to check a commit.
export const sql = 'ALTER TABLE batch ADD COLUMN committed_at timestamptz NOT NULL DEFAULT now()';
