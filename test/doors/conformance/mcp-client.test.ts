// The client scenarios of the MCP conformance suite against `mcpTools`. Each run is a process of the suite that starts one of the client.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { installOnce } from '../../kit/install-packages.ts';
import { ROOT } from '../../kit/processes.ts';
import { FAILED, PASSED } from './mcp-client-scenarios.ts';

const FOLDER = join(ROOT, 'test/doors');
const SUITE = '@modelcontextprotocol/conformance';
const PROGRAM = join(FOLDER, 'node_modules', SUITE, 'dist/index.js');
// Runs the build, which starts faster than the sources.
const CLIENT = `${process.execPath} --disable-warning=ExperimentalWarning ${join(FOLDER, 'conformance/mcp-client.ts')}`;

beforeAll(() => installOnce(FOLDER, SUITE));

/** Runs a command of the suite. Resolves to its exit code and its output. */
async function suite(...args: string[]): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [PROGRAM, ...args], {
      maxBuffer: 16_777_216,
    });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: stdout + stderr };
  }
}
const run = (scenario: string, revision: string) =>
  suite('client', '--command', CLIENT, '--scenario', scenario, '--spec-version', revision);

test('each scenario of the suite is in one of the lists', async () => {
  const { output } = await suite('list', '--client');
  const known = [...output.matchAll(/^ {2}- (\S+) \[/gm)].map(([, name]) => name!);
  expect(known.length).toBeGreaterThan(40);
  const listed = [...PASSED.map(([name]) => name), ...FAILED.flatMap(({ scenarios }) => scenarios)];
  expect([...new Set(listed)].sort()).toEqual(known.toSorted());
});

test.each(PASSED)('%s passes for %s', async (scenario, revision) => {
  const { code, output } = await run(scenario, revision);
  expect(output).toMatch(/^Passed: (\d+)\/\1, 0 failed/m);
  expect(code, output).toBe(0);
});

test.each([
  ['sep-2322-client-request-state', '2026-07-28'],
  ['auth/metadata-default', '2026-07-28'],
])('%s still fails, as the list says', async (scenario, revision) => {
  const { code, output } = await run(scenario, revision);
  expect(code, output).toBe(1);
  expect(output).toMatch(/^Passed: \d+\/\d+, [1-9]\d* failed/m);
});
