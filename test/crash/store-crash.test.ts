// P1 for a conversation host alone: its process is killed repeatedly, and every turn ends exactly once.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SqliteStore } from '@fame-fabric/agents';
import { showConversation } from '@fame-fabric/agents/internal';
import { seeded } from '@fame-fabric/agents/testing';
import { expect, test } from 'vitest';

const PROGRAM = fileURLToPath(new URL('./store-program.ts', import.meta.url));
const CONVERSATIONS = 20;
const TURNS = 12;
const KILLS = 12;

test(`P1: 0 lost and 0 doubled turns in ${KILLS} kill -9 with ${CONVERSATIONS} conversations in flight`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-crash-'));
  const path = join(directory, 'journal.db');
  const notes = join(directory, 'notes');
  const answers = new Map<string, string[]>();
  const random = seeded(42);
  let child: ChildProcessWithoutNullStreams | undefined;

  const run = async (): Promise<ChildProcessWithoutNullStreams> => {
    child = spawn(process.execPath, ['--conditions=fame-source', PROGRAM, path, notes]);
    child.stderr.pipe(process.stderr);
    // A message to a process that was just killed is lost, as on any connection.
    child.stdin.on('error', () => undefined);
    const lines = createInterface({ input: child.stdout });
    const ready = Promise.withResolvers<void>();
    lines.on('line', (line) => {
      if (line === 'ready') {
        ready.resolve();
        return;
      }
      const { turnId, text } = JSON.parse(line) as { turnId: string; text: string };
      answers.set(turnId, [...(answers.get(turnId) ?? []), text]);
      askNext(questions.find((one) => one.turnId === turnId)!.conversationId);
    });
    child.once('exit', () => ready.reject(new Error('the program ended')));
    await ready.promise;
    return child;
  };
  const questions = Array.from({ length: CONVERSATIONS * TURNS }, (_, i) => ({
    conversationId: `c${i % CONVERSATIONS}`,
    turnId: `t${i}`,
    userMessage: `nonce-${i}`,
  }));
  // One turn at a time in each conversation. A turn without an answer is sent again with the same id.
  const askNext = (conversationId: string): void => {
    const next = questions.find((one) => one.conversationId === conversationId && !answers.has(one.turnId));
    if (next && child?.stdin.writable) child.stdin.write(`${JSON.stringify(next)}\n`);
  };
  const askAll = (): void => {
    for (let c = 0; c < CONVERSATIONS; c++) askNext(`c${c}`);
  };
  const noted = (): number => (existsSync(notes) ? readFileSync(notes, 'utf8').split('\n').length : 0);
  /** Answered turns of each conversation. */
  const answered = (): number[] => {
    const counts = Array<number>(CONVERSATIONS).fill(0);
    for (const [i, { turnId }] of questions.entries()) if (answers.has(turnId)) counts[i % CONVERSATIONS]!++;
    return counts;
  };
  const haveAllPassed = (before: readonly number[]): boolean =>
    answered().every((count, c) => count > before[c]! || count === TURNS);
  const isDone = (): boolean => questions.every(({ turnId }) => answers.has(turnId));

  try {
    for (let kill = 0; kill < KILLS; kill++) {
      const progress = answered();
      const victim = await run();
      askAll();
      // A kill comes after a fixed amount of work, not of time. Every second one comes only after each conversation has made
      // progress, since the host gives up a turn that is interrupted three times at the same place.
      if (kill % 2 === 1)
        await expect.poll(() => haveAllPassed(progress), { timeout: 20_000, interval: 2 }).toBe(true);
      const until = noted() + 1 + Math.floor(random() * 20);
      await expect.poll(() => noted() >= until || isDone(), { timeout: 20_000, interval: 2 }).toBe(true);
      const exited = new Promise((resolve) => victim.once('exit', resolve));
      victim.kill('SIGKILL');
      await exited;
    }
    const last = await run();
    askAll();
    await expect.poll(isDone).toBe(true);
    const exited = new Promise((resolve) => last.once('exit', resolve));
    last.kill('SIGKILL');
    await exited;

    const store = await SqliteStore.open({ path });
    const lines = readFileSync(notes, 'utf8').trim().split('\n');
    expect(lines.filter((line) => line.startsWith('invalid') || line.startsWith('error'))).toEqual([]);
    let resumes = 0;
    for (let c = 0; c < CONVERSATIONS; c++) {
      const { transcript } = await showConversation(store, `c${c}`);
      const asked = questions.filter((one) => one.conversationId === `c${c}`);
      expect(transcript.map((turn) => turn.user)).toEqual(asked.map((one) => one.userMessage));
      for (const turn of transcript) {
        const text = `let me see\nyou said ${turn.user}`;
        expect(turn).toMatchObject({ state: 'completed', text, tools: [{ name: 'look', ok: true }] });
        expect(new Set(answers.get(turn.turnId))).toEqual(new Set([text]));
        resumes += turn.resumes;
        const events = await store.read(`c${c}`, { turnId: turn.turnId });
        const count = (kind: string) => events.filter((event) => event.kind === kind).length;
        expect([count('turn_accepted'), count('turn_completed'), count('tool_finished')]).toEqual([1, 1, 1]);
        for (const step of [1, 2]) {
          const calls = lines.filter((line) => line === `model ${turn.user} ${step}`).length;
          expect(calls).toBeLessThanOrEqual(1 + turn.resumes);
        }
        expect(lines.filter((line) => line === `tool ${turn.user}`).length).toBeLessThanOrEqual(
          1 + turn.resumes,
        );
      }
    }
    // The kills must have interrupted turns.
    expect(resumes).toBeGreaterThan(5);
    await store.close();
  } finally {
    child?.kill('SIGKILL');
    if (existsSync(directory)) rmSync(directory, { recursive: true, force: true });
  }
});
