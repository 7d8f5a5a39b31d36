// A process is killed while it migrates a journal of 0.1.0, and while it moves conversations to the trash and back. Nothing is lost.
import { spawn } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SqliteStore } from '@fame-fabric/agents';
import { seeded } from '@fame-fabric/agents/testing';
import { expect, test } from 'vitest';
import { temporaryDirectory } from '../kit/sentinel.ts';

const PROGRAM = fileURLToPath(new URL('./trash-program.ts', import.meta.url));
const FIXTURE = fileURLToPath(new URL('../fixtures/journal-0.1.0/open-turns.db', import.meta.url));
const random = seeded(7);

/** Every conversation with its events, by id, in the trash or not. */
async function contentOf(path: string): Promise<Map<string, unknown>> {
  const store = await SqliteStore.open({ path });
  const content = new Map<string, unknown>();
  for (const inTrash of [false, true]) {
    for (const { id } of await store.list({ inTrash, limit: 1_000 })) {
      expect(content.has(id)).toBe(false);
      content.set(id, await store.read(id, { limit: 10_000 }));
    }
  }
  await store.close();
  return content;
}

/** Runs the program and kills it `delayMs` after it has printed `line` for the `count`th time. */
async function killAfter(path: string, line: string, count: number, delayMs: number): Promise<void> {
  const child = spawn(process.execPath, ['--conditions=fame-source', PROGRAM, path]);
  child.stderr.pipe(process.stderr);
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let seen = 0;
  for await (const printed of createInterface({ input: child.stdout })) {
    if (printed === line && ++seen === count) break;
  }
  // The delay only varies the point of the kill.
  await new Promise((resolve) => setTimeout(resolve, delayMs));
  child.kill('SIGKILL');
  await exited;
  expect(seen).toBe(count);
}

test('P1: a kill -9 while conversations move to the trash and back neither loses nor changes any', async () => {
  const path = join(temporaryDirectory(), 'journal.db');
  copyFileSync(FIXTURE, path);
  const before = await contentOf(path);
  expect(before.size).toBeGreaterThan(30);
  for (let kill = 0; kill < 8; kill++) {
    await killAfter(path, 'moved', 1 + Math.floor(random() * 300), 0);
    expect(await contentOf(path)).toEqual(before);
  }
});

test('P1: a kill -9 while a journal of 0.1.0 is migrated loses nothing', async () => {
  const untouched = join(temporaryDirectory(), 'journal.db');
  copyFileSync(FIXTURE, untouched);
  const before = await contentOf(untouched);
  for (let kill = 0; kill < 10; kill++) {
    const path = join(temporaryDirectory(), 'journal.db');
    copyFileSync(FIXTURE, path);
    await killAfter(path, 'opening', 1, kill * 10);
    expect(await contentOf(path)).toEqual(before);
  }
});
