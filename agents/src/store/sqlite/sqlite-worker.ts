// The thread that owns the database of a store, so that the main thread never blocks on the disk. It runs all requests that have
// arrived in one transaction and answers after the commit is durable.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { isBusy, openDatabase, openingFault, runningFault, StoreFault } from './sqlite-database.ts';
import { SqliteJournal } from './sqlite-journal.ts';
import { WriterLocks } from './writer-lock.ts';

export interface WorkerSetup {
  path: string;
  lockDirectory: string;
  holder: string;
  busyMs: number;
  maxBytes: number;
  hardMaxBytes: number;
}
/** One operation: a method of the journal with its arguments. */
export interface WorkerRequest {
  id: number;
  op: Operation;
  now: number;
  args: readonly unknown[];
}
export interface WorkerAnswer {
  id: number;
  value?: unknown;
  fault?: { code: string; message: string; details: Record<string, unknown> | undefined; cause: string };
}

const WRITES = ['create', 'acquire', 'append', 'renew', 'remove', 'sweep'] as const;
const READS = ['peek', 'record', 'read', 'history', 'unfinished', 'list'] as const;
export type Operation = (typeof WRITES)[number] | (typeof READS)[number] | 'close';

/** Limit of operations in one commit. */
const MAX_BATCH = 256;

const port = parentPort!;
const setup = workerData as WorkerSetup;
const locks = new WriterLocks(setup.lockDirectory);

const faultOf = (error: unknown): NonNullable<WorkerAnswer['fault']> => {
  const { code, message, details, cause } = runningFault(error);
  return { code, message, details, cause: cause instanceof Error ? cause.message : '' };
};

function open() {
  const db = openDatabase(setup);
  try {
    locks.acquire(setup.holder);
  } catch (error) {
    db.close();
    throw openingFault(error, setup.path);
  }
  return {
    db,
    journal: new SqliteJournal(db, {
      holder: setup.holder,
      maxBytes: setup.maxBytes,
      isDead: (one) => locks.isDead(one),
    }),
  };
}

function serve({ db, journal }: ReturnType<typeof open>): void {
  const writes = new Set<string>(WRITES);

  const run = ({ op, now, args }: WorkerRequest): unknown => {
    switch (op) {
      case 'create':
        return journal.create(now, ...(args as [never]));
      case 'acquire':
        return journal.acquire(now, ...(args as [never, never]));
      case 'append':
        return journal.append(now, ...(args as [never]));
      case 'renew':
        return journal.renew(now, ...(args as [never, never]));
      case 'remove':
        return journal.remove(now, ...(args as [never]));
      case 'sweep':
        return journal.sweep(now, ...(args as [never]));
      case 'unfinished':
        return journal.unfinished(now, ...(args as [never, never]));
      case 'peek':
        return journal.peek(...(args as [never, never]));
      case 'record':
        return journal.record(...(args as [never]));
      case 'read':
        return journal.read(...(args as [never, never]));
      case 'history':
        return journal.history(...(args as [never]));
      case 'list':
        return journal.list(...(args as [never]));
      case 'close':
        db.close();
        locks.release();
        port.close();
        return undefined;
    }
  };

  /** Runs a batch in one commit. Throws if the commit as a whole fails. */
  const commit = (batch: readonly WorkerRequest[]): WorkerAnswer[] => {
    const isWrite = batch.some((request) => writes.has(request.op));
    db.exec(isWrite ? 'BEGIN IMMEDIATE' : 'BEGIN');
    try {
      const answers = batch.map((request): WorkerAnswer => {
        try {
          return { id: request.id, value: run(request) };
        } catch (error) {
          // A StoreFault has written nothing. Any other error may have, and rolls the whole batch back.
          if (error instanceof StoreFault) return { id: request.id, fault: faultOf(error) };
          throw error;
        }
      });
      db.exec('COMMIT');
      return answers;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  };

  const answer = (batch: readonly WorkerRequest[]): WorkerAnswer[] => {
    try {
      return commit(batch);
    } catch (error) {
      if (batch.length === 1) return [{ id: batch[0]!.id, fault: faultOf(error) }];
      if (!isBusy(error)) {
        // One request fails the commit: run each on its own.
        return batch.flatMap((request) => answer([request]));
      }
      // Another process held the lock for the whole wait, so do not wait again for each write. Reads need no lock.
      const reads = batch.filter(({ op }) => !writes.has(op));
      const refused = batch.filter(({ op }) => writes.has(op));
      const fault = faultOf(error);
      return [...refused.map(({ id }) => ({ id, fault })), ...(reads.length > 0 ? answer(reads) : [])];
    }
  };

  port.on('message', (first: WorkerRequest[]) => {
    const waiting = [...first];
    for (;;) {
      const more = receiveMessageOnPort(port) as { message: WorkerRequest[] } | undefined;
      if (!more) break;
      waiting.push(...more.message);
    }
    const closing = waiting.findIndex((request) => request.op === 'close');
    const work = closing < 0 ? waiting : waiting.slice(0, closing);
    for (let from = 0; from < work.length; from += MAX_BATCH) {
      port.postMessage(answer(work.slice(from, from + MAX_BATCH)));
    }
    if (closing >= 0) {
      port.postMessage([{ id: waiting[closing]!.id } satisfies WorkerAnswer]);
      run(waiting[closing]!);
    }
  });
}

try {
  const opened = open();
  port.postMessage([{ id: 0 } satisfies WorkerAnswer]);
  serve(opened);
} catch (error) {
  port.postMessage([{ id: 0, fault: faultOf(error) } satisfies WorkerAnswer]);
  locks.release();
  port.close();
}
