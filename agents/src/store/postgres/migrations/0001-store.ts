// The tables of the store. They match those of the SQLite store, except that TOAST keeps long bodies, that the sizes are spread over
// slots, and that writers have rows of their own. Times are in ms since the epoch, by the clock of the database.
export const sql = `
CREATE TABLE conversation (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  public_id text COLLATE "C" NOT NULL,
  agent text COLLATE "C" NOT NULL,
  principal text COLLATE "C" NOT NULL,
  shared_with text[] NOT NULL,
  start_call text NOT NULL,
  state text NOT NULL,
  history_turns integer NOT NULL,
  started_at bigint NOT NULL,
  changed_at bigint NOT NULL,
  last_seq bigint NOT NULL,
  turns bigint NOT NULL,
  chars bigint NOT NULL,
  totals text NOT NULL,
  holder text NOT NULL,
  lease_until bigint NOT NULL,
  fence bigint NOT NULL,
  dormant_fence bigint NOT NULL,
  trashed_at bigint NOT NULL,
  trashed_running_ms bigint NOT NULL,
  forked_from text NOT NULL,
  forked_at text NOT NULL,
  is_ephemeral boolean NOT NULL,
  last_outcome text NOT NULL
) WITH (fillfactor = 70);
-- Appends change columns without an index, so they need no new entries in the indexes.
CREATE INDEX conversation_by_change ON conversation (changed_at, id);
CREATE INDEX conversation_by_public_id ON conversation (public_id, agent, principal) WHERE trashed_at = 0;
CREATE INDEX conversation_of_owner ON conversation (principal, changed_at, id) WHERE trashed_at = 0;
CREATE INDEX conversation_open_of_owner ON conversation (principal)
  WHERE trashed_at = 0 AND state IN ('working', 'input-required');
CREATE INDEX conversation_trashed ON conversation (trashed_at) WHERE trashed_at > 0;
CREATE INDEX conversation_ended ON conversation ((principal <> 'anonymous'), changed_at)
  WHERE trashed_at = 0 AND state IN ('completed', 'canceled');
CREATE INDEX conversation_ephemeral ON conversation (changed_at) WHERE is_ephemeral;

CREATE TABLE event (
  conversation bigint NOT NULL,
  seq bigint NOT NULL,
  at bigint NOT NULL,
  kind text NOT NULL,
  turn_id text COLLATE "C",
  -- Length of the body in UTF-16 units.
  chars integer NOT NULL,
  -- Hash of the id of a question, for the events of approvals.
  approval text,
  body text NOT NULL,
  PRIMARY KEY (conversation, seq)
);
CREATE INDEX event_approval ON event (conversation, approval) WHERE approval IS NOT NULL;

CREATE TABLE turn (
  conversation bigint NOT NULL,
  turn_id text COLLATE "C" NOT NULL,
  state text NOT NULL,
  accepted_seq bigint NOT NULL,
  ended_seq bigint NOT NULL,
  in_history boolean NOT NULL,
  PRIMARY KEY (conversation, turn_id)
);
CREATE INDEX turn_open ON turn (conversation, accepted_seq) WHERE state = 'open';
CREATE INDEX turn_in_history ON turn (conversation, ended_seq) WHERE in_history;

CREATE TABLE acquisition (
  conversation bigint NOT NULL,
  fence bigint NOT NULL,
  first_seq bigint NOT NULL,
  PRIMARY KEY (conversation, fence)
);
CREATE INDEX acquisition_by_seq ON acquisition (conversation, first_seq, fence);

CREATE TABLE retry (
  agent text COLLATE "C" NOT NULL,
  principal text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  conversation bigint NOT NULL,
  turn_id text NOT NULL,
  at bigint NOT NULL,
  is_by_retry boolean NOT NULL,
  joined_by text NOT NULL,
  PRIMARY KEY (agent, principal, key)
);
CREATE INDEX retry_by_time ON retry (at);
CREATE INDEX retry_of_conversation ON retry (conversation);
CREATE INDEX retry_of_owner ON retry (agent, principal, at);

-- Sizes in characters. The size is the sum over all slots. Each connection adds to a slot of its own, so commits do not wait for each
-- other.
CREATE TABLE size (
  slot smallint PRIMARY KEY,
  chars bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE owner (
  principal text COLLATE "C" NOT NULL,
  slot smallint NOT NULL,
  chars bigint NOT NULL,
  PRIMARY KEY (principal, slot)
) WITH (fillfactor = 50);

CREATE TABLE store_time (
  wall_at bigint NOT NULL,
  running_ms bigint NOT NULL,
  held_until_ms bigint NOT NULL,
  keeper text NOT NULL
);
INSERT INTO store_time VALUES (0, 0, 0, '');

CREATE TABLE quota (
  principal text COLLATE "C" NOT NULL,
  unit text NOT NULL,
  ends_at bigint NOT NULL,
  used double precision NOT NULL,
  reserved double precision NOT NULL,
  PRIMARY KEY (principal, unit, ends_at)
);
CREATE INDEX quota_by_end ON quota (ends_at);

CREATE TABLE agent_state (
  agent text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  body text NOT NULL,
  key_id text NOT NULL,
  version bigint NOT NULL,
  PRIMARY KEY (agent, key)
);
CREATE INDEX agent_state_by_key_id ON agent_state (agent, key_id) WHERE key_id <> '';

CREATE TABLE agent_request (
  key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  agent text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  principal text NOT NULL,
  method text NOT NULL,
  digest text NOT NULL,
  params text NOT NULL,
  params_key_id text NOT NULL,
  answer_to text NOT NULL,
  state text NOT NULL,
  attempt integer NOT NULL,
  outcome text NOT NULL,
  outcome_key_id text NOT NULL,
  accepted_at bigint NOT NULL,
  changed_at bigint NOT NULL,
  deadline_at bigint NOT NULL,
  holder text NOT NULL,
  -- Lengths in UTF-16 units.
  params_chars bigint NOT NULL,
  outcome_chars bigint NOT NULL,
  UNIQUE (agent, id)
);
CREATE INDEX agent_request_open ON agent_request (agent, key) WHERE state = 'open';
CREATE INDEX agent_request_ended ON agent_request (changed_at) WHERE state <> 'open';
CREATE INDEX agent_request_params_key_id ON agent_request (agent, params_key_id) WHERE params_key_id <> '';
CREATE INDEX agent_request_outcome_key_id ON agent_request (agent, outcome_key_id) WHERE outcome_key_id <> '';

CREATE TABLE agent_usage (
  agent text COLLATE "C" PRIMARY KEY,
  state_keys bigint NOT NULL,
  state_chars bigint NOT NULL,
  requests bigint NOT NULL,
  request_chars bigint NOT NULL,
  version bigint NOT NULL
);

-- Secrets that the writers share.
CREATE TABLE secret (
  name text PRIMARY KEY,
  value text NOT NULL
);

-- The writers: one row for each open store. A session of the writer holds the advisory lock with its number.
CREATE TABLE writer (
  holder text COLLATE "C" PRIMARY KEY,
  -- Random, because the locks of all schemas of a database share their numbers.
  number integer NOT NULL UNIQUE,
  seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);
-- The last batch that each connection of a writer committed: after a lost connection it tells if the commit succeeded.
CREATE TABLE batch (
  holder text COLLATE "C" NOT NULL,
  lane smallint NOT NULL,
  number bigint NOT NULL,
  PRIMARY KEY (holder, lane)
) WITH (fillfactor = 50);
`;
