// The state of agents and the inbox of their durable requests, beside the tables of the earlier versions.
export const sql = `
CREATE TABLE agent_state (
  agent TEXT NOT NULL,
  key TEXT NOT NULL,
  body TEXT NOT NULL,
  -- Id of the key that encrypted the body; empty for none.
  key_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  UNIQUE (agent, key)
) STRICT;
CREATE INDEX agent_state_by_key_id ON agent_state (agent, key_id) WHERE key_id <> '';

CREATE TABLE agent_request (
  key INTEGER PRIMARY KEY,
  agent TEXT NOT NULL,
  id TEXT NOT NULL,
  principal TEXT NOT NULL,
  method TEXT NOT NULL,
  digest TEXT NOT NULL,
  params TEXT NOT NULL,
  params_key_id TEXT NOT NULL,
  answer_to TEXT NOT NULL,
  state TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  outcome_key_id TEXT NOT NULL,
  accepted_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  deadline_at INTEGER NOT NULL,
  holder TEXT NOT NULL,
  UNIQUE (agent, id)
) STRICT;
CREATE INDEX agent_request_open ON agent_request (agent, key) WHERE state = 'open';
CREATE INDEX agent_request_ended ON agent_request (changed_at) WHERE state <> 'open';
CREATE INDEX agent_request_params_key_id ON agent_request (agent, params_key_id) WHERE params_key_id <> '';
CREATE INDEX agent_request_outcome_key_id ON agent_request (agent, outcome_key_id) WHERE outcome_key_id <> '';

-- Totals of each agent, for its limits.
CREATE TABLE agent_usage (
  agent TEXT PRIMARY KEY,
  state_keys INTEGER NOT NULL,
  state_chars INTEGER NOT NULL,
  requests INTEGER NOT NULL,
  request_chars INTEGER NOT NULL,
  -- Version of the latest write of state.
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;
