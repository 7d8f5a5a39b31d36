// Reads the journal of a running agent from a PostgreSQL database. Like `JournalView`, it answers synchronously, because some points
// at which a process is killed last less than a millisecond: a thread runs the query while this one waits.
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { Journal, JournalRow } from '../journal-view.ts';

const WAIT_MS = 10_000;

export class PostgresJournal implements Journal {
  readonly #url: string;
  #open: { worker: Worker; query(text: string, values: unknown[]): unknown[] } | undefined;

  /** @param url that of `PostgresServer.url` */
  constructor(url: string) {
    this.#url = url;
  }

  lastKind(turnId: string): string | undefined {
    const [row] = this.#query<{ kind: string }>(
      `SELECT kind FROM fame.event WHERE conversation = (SELECT max(conversation) FROM fame.turn WHERE turn_id = $1) AND turn_id = $1
       ORDER BY seq DESC LIMIT 1`,
      turnId,
    );
    return row?.kind;
  }

  events(conversationId: string): JournalRow[] {
    const rows = this.#query<
      Pick<JournalRow, 'seq' | 'kind' | 'turnId'> & { body: string; start: number | null }
    >(
      `SELECT seq, kind, turn_id AS "turnId", body,
         (SELECT fence * 4294967296 + (event.seq - first_seq) * 16384 FROM fame.acquisition
          WHERE conversation = event.conversation AND first_seq <= event.seq ORDER BY fence DESC LIMIT 1) AS start
       FROM fame.event WHERE conversation = (SELECT key FROM fame.conversation WHERE id = $1) ORDER BY seq`,
      conversationId,
    );
    return rows.map(({ body: json, start, ...row }) => {
      const body = JSON.parse(json) as JournalRow['body'];
      const length = row.kind === 'text' ? String(body.text).length : 16_384;
      return { ...row, body, cursor: start === null ? row.seq : start + length };
    });
  }

  turnsOfKey(retryKey: string): { conversationId: string; turnId: string }[] {
    return this.#turnsWith('retry_key', retryKey);
  }

  turnsOfMessage(message: string): { conversationId: string; turnId: string }[] {
    return this.#turnsWith('user_message', message);
  }

  #turnsWith(field: string, value: string): { conversationId: string; turnId: string }[] {
    return this.#query(
      `SELECT id AS "conversationId", turn_id AS "turnId" FROM fame.event
       JOIN fame.conversation ON conversation.key = event.conversation
       WHERE kind = 'turn_accepted' AND body::json->>$1 = $2`,
      field,
      value,
    );
  }

  modelCalls(): Map<string, number> {
    const rows = this.#query<{ message: string; step: string; calls: number }>(
      `SELECT a.body::json->>'user_message' AS message, m.body::json->>'step' AS step, count(*) AS calls
       FROM fame.event m JOIN fame.event a ON a.conversation = m.conversation AND a.turn_id = m.turn_id
       WHERE m.kind = 'model_called' AND a.kind = 'turn_accepted' GROUP BY m.conversation, m.turn_id, message, step`,
    );
    return new Map(
      rows.map(({ message, step, calls }) => [`${/nonce (\w+)/.exec(message)?.[1]} ${step}`, calls]),
    );
  }

  /** Compares the sums in the rows of conversations with their events. */
  integrity(): string {
    const faults = this.#query<{ id: string }>(
      `SELECT id FROM fame.conversation c JOIN LATERAL (
         SELECT count(*) AS count, max(seq) AS last, sum(chars)::bigint AS chars FROM fame.event WHERE conversation = c.key) e ON true
       WHERE (c.last_seq, c.last_seq, c.chars) IS DISTINCT FROM (e.count, e.last, e.chars)
       UNION ALL SELECT 'the size of the store' WHERE (SELECT sum(chars) FROM fame.size)
         IS DISTINCT FROM (SELECT sum(chars) FROM fame.conversation)`,
    );
    return faults.length === 0 ? 'ok' : `wrong sums: ${faults.map(({ id }) => id).join()}`;
  }

  close(): void {
    void this.#open?.worker.terminate();
    this.#open = undefined;
  }

  #query<T>(text: string, ...values: unknown[]): T[] {
    this.#open ??= openWorker(this.#url);
    return this.#open.query(text, values) as T[];
  }
}

function openWorker(url: string) {
  const { port1, port2 } = new MessageChannel();
  const signal = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL('./query-worker.ts', import.meta.url), {
    workerData: { url, port: port2, signal },
    transferList: [port2],
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  worker.unref();
  return {
    worker,
    query(text: string, values: unknown[]): unknown[] {
      Atomics.store(signal, 0, 0);
      port1.postMessage({ text, values });
      Atomics.wait(signal, 0, 0, WAIT_MS);
      const answer = receiveMessageOnPort(port1)?.message as { rows?: unknown[]; fault?: string } | undefined;
      if (!answer?.rows) throw new Error(`The database did not answer: ${answer?.fault ?? 'time limit'}`);
      return answer.rows;
    },
  };
}
