// The conformance suite of the Model Context Protocol against /mcp: the requirements of both revisions, and the scenarios that the suite runs
// without counting them.
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AgentWorker, ChatAgent } from '@fame-fabric/agents';
import { reply, scriptedModel } from '@fame-fabric/agents/testing';
import { openDoors } from '@fame-fabric/doors';
import { doorOfPath } from '@fame-fabric/doors/config';
import type { RunningSentinel } from '@fame-fabric/sentinel';
import { Link, silentLog } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startEmbedded } from '../../kit/embedded-sentinel.ts';
import { installOnce } from '../../kit/install-packages.ts';
import { ROOT } from '../../kit/processes.ts';
import { temporaryDirectory } from '../../kit/sentinel.ts';
import { EXPECTED_FAILURES } from './expected-failures.ts';
import { conformanceAgents } from './mcp-agents.ts';

const FOLDER = join(ROOT, 'test/doors');
const SUITE = '@modelcontextprotocol/conformance';

interface Check {
  readonly id: string;
  readonly status: string;
}

let sentinel: RunningSentinel;
let worker: AgentWorker;
beforeAll(async () => {
  installOnce(FOLDER, SUITE);
  const doors = ['mcp'] as const;
  sentinel = await startEmbedded({
    doors: {
      claims: (path) => doorOfPath(path, doors) !== undefined,
      open: async (host) => openDoors(host, doors),
    },
  });
  const model = scriptedModel([reply('Hello', { times: Number.POSITIVE_INFINITY })]);
  worker = new AgentWorker([new ChatAgent({ model }), ...conformanceAgents()], {
    link: new Link({ url: sentinel.url, dial: wsDial }),
    log: silentLog,
  });
  await worker.start();
});
afterAll(async () => {
  await worker?.drain(0);
  await sentinel?.close();
});

/** Runs the suite. Returns the checks of each scenario. */
async function run(revision: string): Promise<Map<string, Check[]>> {
  const out = temporaryDirectory();
  const url = `http://localhost:${new URL(sentinel.url).port}/mcp`;
  const program = join(FOLDER, 'node_modules', SUITE, 'dist/index.js');
  // The suite ends with 1 if a scenario fails.
  await promisify(execFile)(
    process.execPath,
    [program, 'server', '--url', url, '--requirements', revision, '-o', out],
    { maxBuffer: 67_108_864 },
  ).catch((error: { code?: unknown }) => expect(error.code).toBe(1));
  const files = globSync('server-*/checks.json', { cwd: out });
  return new Map(
    files.map((file) => [
      basename(dirname(file)).replace(/^server-(.*)-\d{4}-\d\d-\d\dT.*$/, '$1'),
      JSON.parse(readFileSync(join(out, file), 'utf8')) as Check[],
    ]),
  );
}

test.each([
  ['2026-07-28', 50],
  ['2025-11-25', 33],
] as const)('MCP %s: only the listed scenarios fail', async (revision, count) => {
  const scenarios = await run(revision);
  expect(scenarios.size).toBe(count);
  const failed = [...scenarios].filter(([, checks]) => checks.some(({ status }) => status === 'FAILURE'));
  const expected = EXPECTED_FAILURES.filter((one) => one.suite === 'MCP' && one.revision === revision);
  expect(failed.map(([scenario]) => scenario).sort()).toEqual(
    expected.map(({ scenario }) => scenario).sort(),
  );
});
