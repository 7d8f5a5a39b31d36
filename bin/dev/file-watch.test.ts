import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FileWatch } from './file-watch.ts';

let folder: string;
let watch: FileWatch;
let change: PromiseWithResolvers<string>;
const errors: string[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fame-watch-'));
  change = Promise.withResolvers();
  errors.length = 0;
  watch = new FileWatch({
    onChange: (path) => change.resolve(path),
    onError: ({ message }) => errors.push(message),
  });
});
afterEach(() => {
  watch.close();
  rmSync(folder, { recursive: true, force: true });
});

const nextChange = (): Promise<string> => {
  change = Promise.withResolvers();
  return change.promise;
};

test('reports a watched file and no other file of its directory', async () => {
  const [file, other] = [join(folder, 'agent.ts'), join(folder, 'other.ts')];
  watch.add(file);
  writeFileSync(other, '1');
  writeFileSync(file, '1');
  expect(await nextChange()).toBe(file);
});

test('reports changes in a directory that was removed and created again', async () => {
  const file = join(folder, 'src/price.ts');
  mkdirSync(join(folder, 'src'));
  writeFileSync(file, '1');
  watch.add(file);
  const removed = nextChange();
  rmSync(join(folder, 'src'), { recursive: true });
  expect(await removed).toBe(file);
  mkdirSync(join(folder, 'src'));
  writeFileSync(file, '2');
  watch.renew();
  const changed = nextChange();
  writeFileSync(file, '3');
  expect(await changed).toBe(file);
});

test('a file whose directory does not exist is watched once the directory is there', async () => {
  const file = join(folder, 'src/price.ts');
  watch.add(file);
  mkdirSync(join(folder, 'src'));
  watch.add(file);
  const changed = nextChange();
  writeFileSync(file, '1');
  expect(await changed).toBe(file);
  expect(errors).toEqual([]);
});

test('reports a directory that cannot be watched once', () => {
  const tooLong = join(folder, 'x'.repeat(300));
  watch.add(join(tooLong, 'a.ts'));
  watch.add(join(tooLong, 'b.ts'));
  expect(errors).toEqual([expect.stringContaining('ENAMETOOLONG')]);
});
