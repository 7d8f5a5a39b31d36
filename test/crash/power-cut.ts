// P3: simulates power cuts without a file system that drops unsynced pages. The agent is frozen (SIGSTOP) at random moments
// during conversations, and its database is copied in that state. The copy then loses what a power cut could lose: bytes of
// the write-ahead log after the last sync, and pages of the database file that a checkpoint has written since the log began.
// The copy must open, be consistent, and contain every event that a client has received, except text that was still being
// streamed. An agent that starts on the copy must take such text back, and every client must get the whole answer.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import {
  ChatTurns,
  type ConversationEvent,
  ConversationHost,
  SqliteStore,
  storePath,
} from '@fame-fabric/agents/internal';
import { pieces, reply, scriptedModel, seeded, type WireRequest } from '@fame-fabric/agents/testing';
import { connect } from '@fame-fabric/client/node';
import { newId } from '@fame-fabric/shared';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, pause } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';
import { Fabric, nonceOf } from './fabric.ts';
import { JournalView } from './journal-view.ts';
import { Received } from './received.ts';

export interface PowerCutReport {
  rounds: number;
  /** Conversations of which a client had received an event, summed over the rounds. */
  checked: number;
  /** Turns that a client continued on a copy. */
  continued: number;
  /** Continued turns in which `restart` took back text that was lost. */
  takenBack: number;
  /** Rounds in which the log had an unsynced tail. */
  tornTails: number;
  /** Rounds in which pages written by a checkpoint were undone. */
  oldPages: number;
  faults: string[];
}

const PARALLEL = 20;
const TURNS_A_CONVERSATION = 10;

/** State of the write-ahead log by its index in shared memory (https://www.sqlite.org/walformat.html). */
interface LogState {
  pageSize: number;
  /** Committed frames: SQLite counts a frame here only after it was synced. */
  frames: number;
  /** Frames that a checkpoint has copied into the database file, or was about to copy. */
  copied: number;
  /** Changes whenever the log starts again. */
  salt: string;
}

function logState(path: string): LogState {
  const index = readFileSync(`${path}-shm`);
  return {
    pageSize: index.readUInt16LE(14) || 65_536,
    frames: index.readUInt32LE(16),
    copied: Math.max(index.readUInt32LE(96), index.readUInt32LE(128)),
    salt: index.subarray(32, 40).toString('hex'),
  };
}

const endOf = ({ pageSize }: LogState, frames: number): number =>
  frames === 0 ? 0 : 32 + frames * (24 + pageSize);

export async function runPowerCuts(options: { rounds: number; seed?: number }): Promise<PowerCutReport> {
  const random = seeded(options.seed ?? 1);
  const report: PowerCutReport = {
    rounds: options.rounds,
    checked: 0,
    continued: 0,
    takenBack: 0,
    tornTails: 0,
    oldPages: 0,
    faults: [],
  };
  const fabric = await Fabric.start({ hasClient: false, respond: answer });
  const clients = await startClients(fabric, report.faults);
  const { received } = clients;
  const copies = temporaryDirectory();
  const path = storePath(fabric.dataDir);
  let earlier: { salt: string; file: string } | undefined;
  for (let round = 1; round <= options.rounds; round++) {
    await sleep(random() * 120);
    await freeze(fabric.agent.pid, () => fabric.agent.child.kill('SIGSTOP'));
    // Frames that the agent sent before it was frozen may still be on their way here.
    await sleep(20);
    const atFreeze = new Map([...received].map(([id, log]) => [id, log.copy()]));
    const copy = storePath(join(copies, String(round)));
    mkdirSync(dirname(copy), { recursive: true });
    for (const end of ['', '-wal']) copyFileSync(path + end, copy + end);
    const state = logState(path);
    fabric.agent.child.kill('SIGCONT');

    if (earlier?.salt === state.salt && random() < 0.5) {
      copyFileSync(earlier.file, copy);
      report.oldPages++;
    } else {
      earlier = { salt: state.salt, file: join(copies, `earlier-${round}`) };
      copyFileSync(copy, earlier.file);
    }
    const size = readFileSync(`${copy}-wal`).length;
    const synced = endOf(state, state.frames);
    if (size > synced) report.tornTails++;
    const faults: string[] = [];
    // Only unsynced bytes are lost: no received event may be missing.
    const tail = cutLog(copy, 'tail', between(random, synced, size));
    faults.push(...(await checkCopy(tail, atFreeze)), ...(await continueOn(tail, atFreeze, report)));
    rmSync(dirname(dirname(tail)), { recursive: true });
    // Synced turns are lost too, as by a broken disk: the rest must still be consistent.
    const shorter = cutLog(copy, 'log', between(random, endOf(state, state.copied), size));
    faults.push(...(await checkCopy(shorter, new Map())));
    rmSync(dirname(dirname(shorter)), { recursive: true });
    report.faults.push(...faults.map((fault) => `round ${round}: ${fault}`));
    for (const log of atFreeze.values()) if (log.count > 0) report.checked++;
    rmSync(dirname(dirname(copy)), { recursive: true });
  }
  await clients.end();
  await fabric.stop();
  return report;
}

/** Runs conversations at once, and notes the events that each client receives. */
export async function startClients(fabric: Fabric, faults: string[]) {
  const client = await connect({ url: fabric.url });
  const received = new Map<string, Received>();
  let isOver = false;
  const runConversations = async (): Promise<void> => {
    while (!isOver) {
      const conversation = client.conversation(CHAT);
      const log = new Received();
      received.set(conversation.id, log);
      for (let n = 0; n < TURNS_A_CONVERSATION && !isOver; n++) {
        const turn = { turnId: newId(), text: `nonce ${conversation.id}x${n}` };
        log.begin(turn);
        for await (const event of conversation.stream(turn.text, { turnId: turn.turnId })) {
          const fault = log.add(event);
          if (fault) faults.push(`${conversation.id}: ${fault}`);
        }
      }
    }
  };
  const running = Array.from({ length: PARALLEL }, runConversations);
  return {
    received,
    async end(): Promise<void> {
      isOver = true;
      await Promise.all(running);
      await client.close();
    },
  };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const between = (random: () => number, from: number, to: number): number =>
  from + Math.floor(random() * (Math.max(from, to) - from + 1));

/** Stops a process and waits until all of its threads have stopped. */
async function freeze(pid: number, stop: () => void): Promise<void> {
  stop();
  const status = `/proc/${pid}/status`;
  while (existsSync(status) && !/^State:\s+T/m.test(readFileSync(status, 'utf8'))) await sleep(1);
  await sleep(5);
}

/** Copies the copy and cuts its log at `at`. In half of the cases noise replaces the rest, in the others nothing. */
function cutLog(copy: string, name: string, at: number): string {
  const path = storePath(join(dirname(dirname(copy)), `${name}-${at}`));
  mkdirSync(dirname(path), { recursive: true });
  for (const end of ['', '-wal']) copyFileSync(copy + end, path + end);
  const log = `${path}-wal`;
  const bytes = readFileSync(log);
  if (at >= bytes.length) return path;
  if (at % 2 === 0) truncateSync(log, at);
  else writeFileSync(log, Buffer.concat([bytes.subarray(0, at), Buffer.alloc(bytes.length - at, 0xa5)]));
  return path;
}

/** Opens a copy as an agent would, and compares it with the events that clients had received. */
async function checkCopy(path: string, atFreeze: ReadonlyMap<string, Received>): Promise<string[]> {
  const dataDir = dirname(dirname(path));
  const faults: string[] = [];
  let ids: string[];
  try {
    const store = await SqliteStore.open({ path });
    ids = (await store.list({ limit: 10_000 })).map(({ id }) => id);
    await store.close();
  } catch (error) {
    return [`the copy does not open: ${String(error)}`];
  }
  const view = new JournalView(dataDir);
  if (view.integrity() !== 'ok') faults.push(`integrity_check: ${view.integrity()}`);
  for (const id of new Set([...ids, ...atFreeze.keys()])) {
    const events = view.events(id);
    if (!events.every(({ seq }, index) => seq === index + 1)) faults.push(`conversation ${id} has gaps`);
    for (const fault of atFreeze.get(id)?.faults(events) ?? []) faults.push(`conversation ${id}: ${fault}`);
  }
  view.close();
  return faults;
}

/** Runs an agent on a copy. Each client continues its turn from its cursor, and must get the rest of one answer. */
async function continueOn(
  path: string,
  atFreeze: ReadonlyMap<string, Received>,
  report: PowerCutReport,
): Promise<string[]> {
  const faults: string[] = [];
  // Its answer differs from that of the first agent, so that text is noticed which is neither kept nor taken back.
  const model = scriptedModel([{ ...reply('The same in other words.'), times: Number.POSITIVE_INFINITY }]);
  const store = await SqliteStore.open({ path });
  const host = new ConversationHost({ runner: new ChatTurns({ model }), store, agent: CHAT });
  const followed = [...atFreeze].flatMap(([id, { running }]) => (running ? [{ id, ...running }] : []));
  await Promise.all(
    followed.map(async ({ id, turnId, text: userMessage, events, after }) => {
      const turn = await host.turn({ conversationId: id, userMessage, turnId, after });
      const rest: ConversationEvent[] = [];
      for await (const event of turn.follow(after)) rest.push(event);
      const done = rest.at(-1);
      const whole = textOf([...events, ...rest]);
      if (done?.type !== 'done' || done.text !== whole) {
        faults.push(
          `turn ${turnId}: a client has ${JSON.stringify(whole)} at the end, ${JSON.stringify(done)}`,
        );
      }
      const cursors = [after, ...rest.map(({ seq }) => seq)];
      if (cursors.some((cursor, index) => cursor <= (cursors[index - 1] ?? 0))) {
        faults.push(`turn ${turnId}: the cursors are ${cursors.join()}`);
      }
      report.continued++;
      const restart = rest.find(({ type }) => type === 'restart');
      if (restart?.type === 'restart' && restart.keep < textOf(events).length) report.takenBack++;
    }),
  );
  await host.close();
  await store.close();
  return faults;
}

export function answer(request: WireRequest) {
  const text = `An answer to ${nonceOf(request)}: ${'and so on, '.repeat(6)}done.`;
  return pieces(text, 20).flatMap((piece) => [pause(4), piece]);
}
