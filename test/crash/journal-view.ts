// Reads the journal of a running agent from another process, through SQLite and read-only: it holds exactly what a restarted
// agent would find. It shares no code with the store.
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { storePath } from '@fame-fabric/agents/internal';

/** One event, which is one row. */
export interface JournalRow {
  seq: number;
  /** Position of a reader after the whole row. */
  cursor: number;
  kind: string;
  turnId: string | null;
  body: Record<string, unknown>;
}

/** The same reads of a store of any kind. */
export type Journal = Pick<JournalView, keyof JournalView>;

export class JournalView {
  readonly #path: string;
  #db: DatabaseSync | undefined;
  #lastKind: StatementSync | undefined;

  constructor(dataDir: string) {
    this.#path = storePath(dataDir);
  }

  #open(): DatabaseSync {
    this.#db ??= new DatabaseSync(this.#path, { readOnly: true, timeout: 1_000 });
    return this.#db;
  }

  /** The kind of the last event of a turn. Takes a few microseconds. */
  lastKind(turnId: string): string | undefined {
    this.#lastKind ??= this.#open().prepare(
      `SELECT kind FROM event
       WHERE conversation = (SELECT max(conversation) FROM turn WHERE turn_id = ?1) AND turn_id = ?1
       ORDER BY seq DESC LIMIT 1`,
    );
    return (this.#lastKind.get(turnId) as { kind: string } | undefined)?.kind;
  }

  events(conversationId: string): JournalRow[] {
    const sql = `SELECT seq, kind, turn_id AS turnId, body,
        (SELECT fence * 4294967296 + (event.seq - first_seq) * 16384 FROM acquisition
         WHERE conversation = event.conversation AND first_seq <= event.seq ORDER BY fence DESC LIMIT 1) AS start
      FROM event WHERE conversation = (SELECT key FROM conversation WHERE id = ?) ORDER BY seq`;
    const rows = this.#open().prepare(sql).all(conversationId) as (Pick<
      JournalRow,
      'seq' | 'kind' | 'turnId'
    > & {
      body: string;
      start: number | null;
    })[];
    return rows.map(({ body: json, start, ...row }) => {
      const body = JSON.parse(json) as JournalRow['body'];
      const length = row.kind === 'text' ? String(body.text).length : 16_384;
      return { ...row, body, cursor: start === null ? row.seq : start + length };
    });
  }

  /** The turns of a retry key, in any conversation. */
  turnsOfKey(retryKey: string): { conversationId: string; turnId: string }[] {
    const sql = `SELECT id AS conversationId, turn_id AS turnId FROM event
      JOIN conversation ON conversation.key = event.conversation
      WHERE kind = 'turn_accepted' AND json_extract(body, '$.retry_key') = ?`;
    return this.#open().prepare(sql).all(retryKey) as { conversationId: string; turnId: string }[];
  }

  /** The turns of a message, in any conversation. */
  turnsOfMessage(message: string): { conversationId: string; turnId: string }[] {
    const sql = `SELECT id AS conversationId, turn_id AS turnId FROM event
      JOIN conversation ON conversation.key = event.conversation
      WHERE kind = 'turn_accepted' AND json_extract(body, '$.user_message') = ?`;
    return this.#open().prepare(sql).all(message) as { conversationId: string; turnId: string }[];
  }

  /** Number of model calls in the journal, by the nonce of the turn's message and the step. */
  modelCalls(): Map<string, number> {
    const sql = `SELECT json_extract(a.body, '$.user_message') AS message, json_extract(m.body, '$.step') AS step,
        count(*) AS calls
      FROM event m JOIN event a ON a.conversation = m.conversation AND a.turn_id = m.turn_id
      WHERE m.kind = 'model_called' AND a.kind = 'turn_accepted' GROUP BY m.conversation, m.turn_id, step`;
    const calls = new Map<string, number>();
    for (const row of this.#open().prepare(sql).iterate()) {
      const { message, step, calls: count } = row as { message: string; step: number; calls: number };
      calls.set(`${/nonce (\w+)/.exec(message)?.[1]} ${step}`, count);
    }
    return calls;
  }

  integrity(): string {
    return Object.values(this.#open().prepare('PRAGMA integrity_check').get()!).join();
  }

  close(): void {
    this.#db?.close();
    this.#db = undefined;
    this.#lastKind = undefined;
  }
}
