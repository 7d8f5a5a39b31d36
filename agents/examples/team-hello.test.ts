// The team example of the README: it runs as printed, and stays short.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { team } from './team-hello.ts';

it('TM-36 greets without a network, in fewer than 20 lines', async () => {
  expect(await team.run('Hi!').result).toMatchObject({
    kind: 'text',
    text: 'Hello, world!',
    path: ['switchboard', 'greeter'],
  });
  const source = readFileSync(new URL('./team-hello.ts', import.meta.url), 'utf8');
  expect(source.trim().split('\n').length).toBeLessThan(20);
});
