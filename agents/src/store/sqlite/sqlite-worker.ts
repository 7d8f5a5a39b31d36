// The thread that owns the database of a store, so that the main thread never blocks on the disk. It runs all requests that have
// arrived in one transaction and answers after the commit is durable. A request that finds the store full waits until room is made.
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { OwnerLimits, RoomReport, SweepOptions } from '../store.ts';
import { DiskReserve } from './disk-reserve.ts';
import { RoomMaker } from './room-maker.ts';
import { AGENT_READS, AGENT_WRITES, type AgentOperation, SqliteAgentStore } from './sqlite-agent-store.ts';
import {
  isBusy,
  isDiskFull,
  mayBeDiskFull,
  openDatabase,
  openingFault,
  runningFault,
  StoreFault,
} from './sqlite-database.ts';
import { SqliteJournal } from './sqlite-journal.ts';
import { Statements } from './statements.ts';
import { WriterLocks } from './writer-lock.ts';

export interface WorkerSetup {
  path: string;
  reservePath: string;
  lockDirectory: string;
  holder: string;
  busyMs: number;
  maxBytes: number;
  ownerLimits: OwnerLimits;
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
  /** Report of the room that was made. An answer with a report has the id 0 and no value. */
  room?: RoomReport;
  value?: unknown;
  fault?: { code: string; message: string; details: Record<string, unknown> | undefined; cause: string };
}

const WRITES = [
  'create',
  'acquire',
  'append',
  'retried',
  'renew',
  'trash',
  'restore',
  'remove',
  'sweep',
  'shrink',
  'keepTime',
  'changeQuota',
  'endHold',
  'replicaKey',
  ...AGENT_WRITES,
] as const;
const READS = [
  'reach',
  'peek',
  'record',
  'read',
  'history',
  'turnOfApproval',
  'unfinished',
  'find',
  'list',
  'time',
  ...AGENT_READS,
] as const;
export type Operation = (typeof WRITES)[number] | (typeof READS)[number] | 'close';
/** Writes that free space. On a full disk they use the reserve, and never make room by other conversations. */
const FREEING: ReadonlySet<Operation> = new Set(['trash', 'remove', 'sweep', 'deleteState', 'removeRequest']);

/** Limit of operations in one commit. */
const MAX_BATCH = 256;
/** Maximum number of times that one batch makes room on a full disk, because another program may keep filling the disk. */
const MAX_DISK_ROOMS = 16;

const port = parentPort!;
const setup = workerData as WorkerSetup;
const locks = new WriterLocks(setup.lockDirectory);
const reserve = new DiskReserve(setup.reservePath);

const faultOf = (error: unknown): NonNullable<WorkerAnswer['fault']> => {
  const { code, message, details, cause } = runningFault(error);
  return { code, message, details, cause: cause instanceof Error ? cause.message : '' };
};

/** Opens the file and acquires the lock of this writer. */
function openFile(): DatabaseSync {
  const db = openDatabase(setup);
  try {
    locks.acquire(setup.holder);
    return db;
  } catch (error) {
    db.close();
    throw openingFault(error, setup.path);
  }
}

function openFileOnFullDisk(error: unknown): DatabaseSync {
  // Opening creates files, which needs the reserve.
  if (!mayBeDiskFull((error as Error).cause) || !reserve.release()) throw error;
  return openFile();
}

function open() {
  let db: DatabaseSync;
  try {
    db = openFile();
  } catch (error) {
    db = openFileOnFullDisk(error);
  }
  reserve.take();
  const journal = new SqliteJournal(db, {
    holder: setup.holder,
    maxBytes: setup.maxBytes,
    ownerLimits: setup.ownerLimits,
    isDead: (one) => locks.isDead(one),
  });
  const onRoom = (report: RoomReport): void => {
    port.postMessage([{ id: 0, room: report } satisfies WorkerAnswer]);
  };
  const { path, maxBytes } = setup;
  const agents = new SqliteAgentStore(new Statements(db), {
    holder: setup.holder,
    isDead: (one) => locks.isDead(one),
    assertNotFull: () => journal.assertNotFull(),
  });
  return {
    db,
    journal,
    agents,
    room: new RoomMaker({ path, db, removal: journal.removal, reserve, maxBytes, onRoom }),
  };
}

/** Id of the conversation that a request names; empty if it names none. */
function conversationOf({ args: [first] }: WorkerRequest): string {
  if (typeof first === 'string') return first;
  const { id, conversationId } = (first ?? {}) as { id?: string; conversationId?: string };
  return conversationId ?? id ?? '';
}

function serve({ db, journal, agents, room }: ReturnType<typeof open>): void {
  const writes = new Set<string>(WRITES);
  let diskRooms = 0;

  const run = ({ op, now, args }: WorkerRequest): unknown => {
    switch (op) {
      case 'create':
        return journal.create(now, ...(args as [never]));
      case 'acquire':
        return journal.acquire(now, ...(args as [never, never]));
      case 'append':
        return journal.append(now, ...(args as [never]));
      case 'retried':
        return journal.retried(now, ...(args as [never]));
      case 'renew':
        return journal.renew(now, ...(args as [never, never]));
      case 'trash':
        return journal.removal.trash(now, ...(args as [never]));
      case 'restore':
        return journal.removal.restore(...(args as [never]));
      case 'remove':
        return journal.removal.remove(now, ...(args as [never]));
      case 'sweep':
        return agents.sweepAfter(
          journal.removal.sweep(now, ...(args as [never])),
          now,
          args[0] as SweepOptions,
        );
      case 'shrink':
        return journal.removal.shrink();
      case 'changeQuota':
        return journal.changeQuota(now, ...(args as [never, never]));
      case 'keepTime':
        reserve.take();
        return journal.keepTime(now, ...(args as [never]));
      case 'time':
        return journal.time();
      case 'endHold':
        return journal.endHold();
      case 'replicaKey':
        return journal.replicaKey(...(args as [never]));
      case 'turnOfApproval':
        return journal.turnOfApproval(...(args as [never, never]));
      case 'unfinished':
        return journal.unfinished(now, ...(args as [never, never]));
      case 'reach':
        return journal.reach(...(args as [never]));
      case 'peek':
        return journal.peek(now, ...(args as [never, never]));
      case 'record':
        return journal.record(...(args as [never, never]));
      case 'read':
        return journal.read(...(args as [never, never]));
      case 'history':
        return journal.history(...(args as [never, never]));
      case 'find':
        return journal.find(...(args as [never]));
      case 'list':
        return journal.list(...(args as [never]));
      case 'close':
        room.close();
        locks.release();
        port.close();
        return undefined;
      default:
        return agents.run(op satisfies AgentOperation, now, args);
    }
  };

  /**
   * Runs requests in one commit. With `stopsWhenFull` it ends before the first one that the limit of the store refuses. Throws if
   * the commit as a whole fails.
   */
  const commit = (batch: readonly WorkerRequest[], stopsWhenFull: boolean): WorkerAnswer[] => {
    const isWrite = batch.some((request) => writes.has(request.op));
    db.exec(isWrite ? 'BEGIN IMMEDIATE' : 'BEGIN');
    try {
      const answers: WorkerAnswer[] = [];
      for (const request of batch) {
        try {
          answers.push({ id: request.id, value: run(request) });
        } catch (error) {
          // A StoreFault has written nothing. Any other error may have, and rolls the whole batch back.
          if (!(error instanceof StoreFault)) throw error;
          if (stopsWhenFull && error.code === 'STORE_FULL') break;
          answers.push({ id: request.id, fault: faultOf(error) });
        }
      }
      db.exec('COMMIT');
      return answers;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  };

  /** Makes room for the requests of a batch, never by the conversations that they name. Returns false if it could not. */
  const makeRoom = (batch: readonly WorkerRequest[], cause: 'limit' | 'disk'): boolean => {
    const except = new Set(batch.map(conversationOf));
    const { now } = batch[0]!;
    try {
      if (cause === 'limit') return room.belowLimit(now, except);
      return room.reclaimLog() || room.onDisk(now, except);
    } catch {
      // The requests then fail with a fault of their own.
      return false;
    }
  };

  const answer = (batch: readonly WorkerRequest[]): WorkerAnswer[] => {
    const answers: WorkerAnswer[] = [];
    // A request that only reads must not find a full store while room can be made.
    let canMakeRoom = !room.isNeeded || makeRoom(batch, 'limit');
    for (let rest = batch; rest.length > 0; rest = batch.slice(answers.length)) {
      try {
        answers.push(...commit(rest, canMakeRoom));
        if (answers.length < batch.length) canMakeRoom = makeRoom(batch.slice(answers.length), 'limit');
      } catch (error) {
        const isFreeing = rest.some(({ op }) => FREEING.has(op));
        if (isDiskFull(error) && !isFreeing && diskRooms < MAX_DISK_ROOMS) {
          diskRooms += 1;
          if (makeRoom(rest, 'disk')) continue;
        }
        answers.push(...answerFailed(rest, error));
      }
    }
    return answers;
  };

  /** Answers requests whose common commit failed. */
  const answerFailed = (batch: readonly WorkerRequest[], error: unknown): WorkerAnswer[] => {
    const [first] = batch;
    if (batch.length === 1) {
      if (isDiskFull(error) && FREEING.has(first!.op)) {
        try {
          // Only commands remove a conversation, and their user waits for the space.
          const maxSteps = first!.op === 'remove' ? Number.POSITIVE_INFINITY : 1;
          return room.withReserve(() => commit(batch, false), maxSteps);
        } catch (again) {
          return [{ id: first!.id, fault: faultOf(again) }];
        }
      }
      return [{ id: first!.id, fault: faultOf(error) }];
    }
    if (!isBusy(error)) {
      // One request fails the commit: run each on its own.
      return batch.flatMap((request) => answer([request]));
    }
    // Another process held the lock for the whole wait, so do not wait again for each write. Reads need no lock.
    const reads = batch.filter(({ op }) => !writes.has(op));
    const refused = batch.filter(({ op }) => writes.has(op));
    const fault = faultOf(error);
    return [...refused.map(({ id }) => ({ id, fault })), ...(reads.length > 0 ? answer(reads) : [])];
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
      diskRooms = 0;
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
