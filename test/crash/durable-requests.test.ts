// Durable requests and state: the process of the agent is killed repeatedly. Every request has one outcome, no request runs after
// its outcome was received, and every value whose `set` resolved is there.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SqliteStore, StateKeys } from '@fame-fabric/agents';
import { seeded } from '@fame-fabric/agents/testing';
import { expect, test } from 'vitest';

const PROGRAM = fileURLToPath(new URL('./durable-program.ts', import.meta.url));
const AGENT = 'bank@fame.fabric';
const REQUESTS = 400;
const IN_FLIGHT = 12;
const KILLS = 20;

test(`0 lost and 0 doubled requests, and no value lost, in ${KILLS} kill -9 with ${IN_FLIGHT} requests in flight`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-crash-'));
  const path = join(directory, 'journal.db');
  const notes = join(directory, 'notes');
  const key = randomBytes(32).toString('hex');
  const random = seeded(7);
  /** Outcomes that were received, by id, as JSON. */
  const outcomes = new Map<string, Set<string>>();
  /** Length of the notes when the first outcome of a request was received. */
  const notedAt = new Map<string, number>();
  const linesOf = (): string[] => (existsSync(notes) ? readFileSync(notes, 'utf8').trim().split('\n') : []);
  let sent = 0;
  let child: ChildProcessWithoutNullStreams | undefined;

  const send = (n: number): void => {
    if (child?.stdin.writable) child.stdin.write(`${JSON.stringify({ id: `r${n}`, n })}\n`);
  };
  const isAnswered = (n: number): boolean => outcomes.has(`r${n}`);
  const onLine = (line: string): void => {
    const { id, outcome } = JSON.parse(line) as { id: string; outcome: unknown };
    if (!notedAt.has(id)) notedAt.set(id, linesOf().length);
    outcomes.set(id, (outcomes.get(id) ?? new Set()).add(JSON.stringify(outcome)));
    if (sent < REQUESTS) send(sent++);
  };
  const run = async (): Promise<ChildProcessWithoutNullStreams> => {
    child = spawn(process.execPath, ['--conditions=fame-source', PROGRAM, path, notes, key]);
    child.stderr.pipe(process.stderr);
    // A request to a process that was just killed is lost, as on any connection.
    child.stdin.on('error', () => undefined);
    const ready = Promise.withResolvers<void>();
    createInterface({ input: child.stdout }).on('line', (line) =>
      line === 'ready' ? ready.resolve() : onLine(line),
    );
    child.once('exit', () => ready.reject(new Error('the program ended')));
    await ready.promise;
    return child;
  };
  const kill = async (victim: ChildProcessWithoutNullStreams): Promise<void> => {
    const exited = new Promise((resolve) => victim.once('exit', resolve));
    victim.kill('SIGKILL');
    await exited;
  };
  /** Sends the requests without an outcome again, and then new ones. */
  const sendAll = (): void => {
    const open = Array.from({ length: sent }, (_, n) => n).filter((n) => !isAnswered(n));
    for (const n of open) send(n);
    for (let room = IN_FLIGHT - open.length; room > 0 && sent < REQUESTS; room--) send(sent++);
  };

  try {
    for (let kills = 0; kills < KILLS; kills++) {
      const victim = await run();
      // Open requests of the dead process run by themselves, so only every second process is asked for them.
      if (kills % 2 === 0 || sent === 0) sendAll();
      const until = linesOf().length + 8 + Math.floor(random() * 16);
      const isIdle = (): boolean => Array.from({ length: sent }, (_, n) => n).every(isAnswered);
      await expect
        .poll(() => linesOf().length >= until || (sent === REQUESTS && isIdle()) || kills % 2 === 1, {
          timeout: 20_000,
          interval: 2,
        })
        .toBe(true);
      await kill(victim);
    }
    const last = await run();
    sendAll();
    await expect.poll(() => outcomes.size, { timeout: 60_000 }).toBe(REQUESTS);
    // Each outcome is asked for once more.
    const before = linesOf().length;
    for (let n = 0; n < REQUESTS; n++) send(n);
    await expect.poll(() => last.stdin.writableLength).toBe(0);
    const store = await SqliteStore.open({ path });
    await expect.poll(async () => (await store.listRequests({ state: 'open', limit: 1 })).length).toBe(0);
    await kill(last);

    const lines = linesOf();
    const runs = (from = 0): string[] => lines.slice(from).filter((line) => line.startsWith('run '));
    expect(runs(before)).toEqual([]);
    const dead = [...outcomes].filter(([, all]) => [...all].some((one) => one.includes('REQUEST_DEAD')));
    for (const [id, all] of outcomes) {
      expect([...all], id).toHaveLength(1);
      expect(
        runs(notedAt.get(id)).filter((line) => line.startsWith(`run ${id} `)),
        id,
      ).toEqual([]);
    }
    const stored = await store.listRequests({ limit: REQUESTS + 1 });
    expect(stored).toHaveLength(REQUESTS);
    expect(stored.filter(({ state }) => state === 'completed')).toHaveLength(REQUESTS - dead.length);
    // Kills interrupted runs, and a request is given up only after three of them.
    expect(runs().length).toBeGreaterThan(REQUESTS);
    for (const [id] of dead) expect(runs().filter((line) => line.startsWith(`run ${id} `))).toHaveLength(3);

    const keys = new StateKeys([Buffer.from(key, 'hex')]);
    const set = new Set(lines.filter((line) => line.startsWith('set ')).map((line) => line.slice(4)));
    for (const id of set) {
      const entry = await store.getState(AGENT, `paid/${id}`);
      const place = { agent: AGENT, kind: 'state', key: `paid/${id}` } as const;
      expect(entry && keys.open(entry, place), id).toBe(id.slice(1));
    }
    expect(set.size).toBeGreaterThanOrEqual(REQUESTS - dead.length);
    console.info(`${KILLS} kills, ${REQUESTS} requests, ${runs().length} runs, ${dead.length} given up`);
    await store.close();
  } finally {
    child?.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
});
