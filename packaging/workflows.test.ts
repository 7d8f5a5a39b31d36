// The workflows follow the schema of GitHub Actions. `test/supply-chain.test.ts` checks their actions and commands.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { workflowFindings } from './checkers.ts';
import { ROOT } from './packages.ts';

const WORKFLOWS = globSync('.github/workflows/*.yml', { cwd: ROOT }).sort();
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

test('there are workflows for tests, security and releases', () => {
  expect(WORKFLOWS).toEqual(['ci', 'release', 'security'].map((name) => `.github/workflows/${name}.yml`));
});

test.each(WORKFLOWS)('%s follows the schema', (file) => {
  expect(workflowFindings(read(file))).toEqual([]);
});

test('a step without a command, and an unknown event, deviate from it', () => {
  const text = read('.github/workflows/release.yml');
  expect(workflowFindings(text.replace('- run: npm ci', '- runs: npm ci'))).not.toEqual([]);
  expect(workflowFindings(text.replace('  pull_request:', '  pull_requests:'))).not.toEqual([]);
});

test('only the job that publishes may sign, and only for a tag', () => {
  const [before, publish] = read('.github/workflows/release.yml').split(/^ {2}publish:\n/m);
  expect(before).not.toContain('id-token');
  expect(publish).toMatch(/if: startsWith\(github\.ref, 'refs\/tags\/v'\)\n/);
  expect(publish).toMatch(/id-token: write\n/);
  expect(publish).toMatch(/NPM_CONFIG_PROVENANCE: 'true'\n/);
});

test('packages and the image are published after all checks, and no build tool sees the token of npm', () => {
  const { jobs } = parse(read('.github/workflows/release.yml')) as {
    jobs: Record<string, { needs?: string[]; steps: { run?: string; env?: Record<string, string> }[] }>;
  };
  for (const job of ['image', 'publish']) expect(jobs[job]!.needs).toEqual(['rehearse', 'test']);
  const withToken = Object.values(jobs).flatMap(({ steps }) =>
    steps.filter(({ env }) => env?.NODE_AUTH_TOKEN).map(({ run }) => run),
  );
  expect(withToken).toEqual([expect.stringMatching(/^node \S+ packaging\/publish\.ts /)]);
});
