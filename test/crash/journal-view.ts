// Looks into the journal of a running agent from outside, through SQLite itself and read-only: what stands there is what a
// restarted agent would find. It shares no code with the store.
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { storePath } from '@fame-fabric/agents/store/sqlite-store';

export interface SeenEvent {
  seq: number;
  kind: string;
  turnId: string | null;
  body: Record<string, unknown>;
}

export interface SeenTurn {
  conversationId: string;
  turnId: string;
  state: string;
}

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

  /** The kind of the last event of a turn, within some microseconds. */
  lastKind(turnId: string): string | undefined {
    this.#lastKind ??= this.#open().prepare(
      `SELECT kind FROM event
       WHERE conversation = (SELECT max(conversation) FROM turn WHERE turn_id = ?1) AND turn_id = ?1
       ORDER BY seq DESC LIMIT 1`,
    );
    return (this.#lastKind.get(turnId) as { kind: string } | undefined)?.kind;
  }

  events(conversationId: string): SeenEvent[] {
    const sql = `SELECT seq, kind, turn_id, body FROM event
      WHERE conversation = (SELECT key FROM conversation WHERE id = ?) ORDER BY seq`;
    const rows = this.#open().prepare(sql).all(conversationId) as {
      seq: number;
      kind: string;
      turn_id: string | null;
      body: string;
    }[];
    return rows.map(({ seq, kind, turn_id: turnId, body }) => ({
      seq,
      kind,
      turnId,
      body: JSON.parse(body),
    }));
  }

  turns(): SeenTurn[] {
    const sql = `SELECT c.id AS conversationId, t.turn_id AS turnId, t.state AS state
      FROM turn t JOIN conversation c ON c.key = t.conversation`;
    return this.#open().prepare(sql).all() as unknown as SeenTurn[];
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
