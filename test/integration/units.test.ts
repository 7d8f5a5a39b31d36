// N5: the unit files of docs/operating.md. systemd checks them where it exists. Their sentinel and agent run from here as processes,
// with the settings of the units.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { AGENT_VARIABLES } from '@fame-fabric/agents/process';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { expect, test } from 'vitest';
import { fameArgs, freePort, healthy, type Proc, ROOT, startNode } from '../kit/processes.ts';
import { localKey, temporaryDirectory } from '../kit/sentinel.ts';

const UNITS = globSync('docs/operating/*.{service,timer}', { cwd: ROOT }).sort();
const read = (name: string): string => readFileSync(join(ROOT, 'docs/operating', name), 'utf8');
const SERVICES = ['fame-agent.service', 'fame-sentinel.service'];
const COMMAND = '/opt/fame/node_modules/.bin/fame-fabric';
const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;

/** Values of a key of the unit, in order. */
const valuesOf = (unit: string, key: string): string[] =>
  [...unit.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value!);

/** Writes the units with a command that exists, and returns their paths. */
function installed(): string[] {
  const directory = temporaryDirectory();
  const command = join(directory, 'fame-fabric');
  writeFileSync(command, '#!/bin/sh\n');
  chmodSync(command, 0o755);
  return UNITS.map((unit) => {
    const path = join(directory, basename(unit));
    writeFileSync(path, read(basename(unit)).replaceAll(COMMAND, command));
    return path;
  });
}

test('there are units for the sentinel, the agent and the backup', () => {
  expect(UNITS.map((unit) => basename(unit))).toEqual([
    'fame-agent.service',
    'fame-backup.service',
    'fame-backup.timer',
    'fame-sentinel.service',
  ]);
});

test.skipIf(!hasSystemd)('systemd-analyze verify finds no fault', () => {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...installed()], {
    encoding: 'utf8',
  });
  expect(`${stdout}${stderr}`).toBe('');
  expect(status).toBe(0);
});

test.skipIf(!hasSystemd)('the services are confined: their exposure is 2.0 of 10 or less', () => {
  for (const unit of installed().filter((path) => SERVICES.includes(basename(path)))) {
    const args = ['security', '--offline=true', '--threshold=20', '--no-pager', unit];
    const { status, stdout } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    expect(status, stdout).toBe(0);
  }
});

test.each([
  ['fame-sentinel.service', SENTINEL_VARIABLES],
  ['fame-agent.service', AGENT_VARIABLES],
])('%s stops within its limit, and sets variables that exist', (name, variables) => {
  const unit = read(name);
  const { default: drainMs } = variables.find((variable) => variable.name === 'FAME_DRAIN_MS')!;
  // After the drain, a process has up to 6 s for closing.
  const [limit] = valuesOf(unit, 'TimeoutStopSec');
  expect(Number(limit) * 1_000).toBeGreaterThan(Number(drainMs) + 6_000);
  const names = valuesOf(unit, 'Environment').map((line) => line.split('=')[0]);
  const known = ['PATH', ...variables.map((variable) => variable.name)];
  expect(names.filter((one) => !known.includes(one!))).toEqual([]);
});

test('the sentinel and the agent start with the settings of their units, and end with 0 after SIGTERM', async () => {
  const root = temporaryDirectory();
  const port = await freePort();
  const start = (name: string): Proc => {
    const unit = read(name);
    const settings = valuesOf(unit, 'Environment')
      .map((line) => line.replaceAll('/var/lib', root).split('='))
      .filter(([variable]) => variable !== 'PATH');
    const env = { ...Object.fromEntries(settings), FAME_LISTENER_PORT: String(port) };
    // StateDirectory
    mkdirSync(env.FAME_DATA_DIR!, { recursive: true, mode: 0o700 });
    const [line] = valuesOf(unit, 'ExecStart');
    const [command, ...args] = line!.split(' ');
    expect(command).toBe(COMMAND);
    return startNode(fameArgs(...args), { name, env, cwd: env.FAME_DATA_DIR! });
  };
  const sentinel = start('fame-sentinel.service');
  const [wait] = valuesOf(read('fame-sentinel.service'), 'ExecStartPost');
  const [, script] = /^\/bin\/sh -c '(.*)'$/.exec(wait!)!;
  const dataDir = join(root, 'fame/sentinel');
  execFileSync('/bin/sh', ['-c', script!], { env: { ...process.env, FAME_DATA_DIR: dataDir } });
  expect(localKey(dataDir)).toMatch(/^fk_local_/);
  await healthy(`http://127.0.0.1:${port}/readyz`, sentinel);
  const agent = start('fame-agent.service');
  await agent.waitFor(/chat@fame\.fabric is served/);
  expect(await agent.stop()).toEqual({ code: 0, signal: null });
  expect(await sentinel.stop()).toEqual({ code: 0, signal: null });
});
