import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { showConversation } from './inspect.ts';
import { SqliteStore } from './sqlite-store.ts';

const PROGRAM = fileURLToPath(new URL('./crash-program.ts', import.meta.url));
const CONVERSATIONS = 20;
const TURNS = 4;
const KILLS = 12;

/** Numbers that look random and are the same in every run. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

test(`P1: 0 lost and 0 doubled turns in ${KILLS} kill -9 with ${CONVERSATIONS} conversations in flight`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-crash-'));
  const path = join(directory, 'journal.db');
  const notes = join(directory, 'notes');
  const answers = new Map<string, string[]>();
  const random = numbers(42);
  let child: ChildProcessWithoutNullStreams | undefined;

  const run = async (): Promise<ChildProcessWithoutNullStreams> => {
    child = spawn(process.execPath, ['--conditions=source', PROGRAM, path, notes]);
    child.stderr.pipe(process.stderr);
    const lines = createInterface({ input: child.stdout });
    const ready = Promise.withResolvers<void>();
    lines.on('line', (line) => {
      if (line === 'ready') {
        ready.resolve();
        return;
      }
      const { turnId, text } = JSON.parse(line) as { turnId: string; text: string };
      answers.set(turnId, [...(answers.get(turnId) ?? []), text]);
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
  const ask = (to: ChildProcessWithoutNullStreams): void => {
    // One at a time in each conversation, as a person would; what has no answer is asked again with the same id.
    for (let c = 0; c < CONVERSATIONS; c++) {
      const open = questions.find((one) => one.conversationId === `c${c}` && !answers.has(one.turnId));
      if (open) to.stdin.write(`${JSON.stringify(open)}\n`);
    }
  };
  const isDone = (): boolean => questions.every(({ turnId }) => answers.has(turnId));

  try {
    for (let kill = 0; kill < KILLS; kill++) {
      const victim = await run();
      ask(victim);
      await new Promise((resolve) => setTimeout(resolve, random() * 160));
      const exited = new Promise((resolve) => victim.once('exit', resolve));
      victim.kill('SIGKILL');
      await exited;
    }
    const last = await run();
    while (!isDone()) {
      const before = answers.size;
      ask(last);
      await expect.poll(() => answers.size, { timeout: 10_000 }).toBeGreaterThan(before);
    }
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
    // The kills did hit turns that were on their way.
    expect(resumes).toBeGreaterThan(5);
    await store.close();
  } finally {
    child?.kill('SIGKILL');
    if (existsSync(directory)) rmSync(directory, { recursive: true, force: true });
  }
}, 60_000);
