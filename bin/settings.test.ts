import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { explainError } from '@fame-fabric/shared/internal';
import { expect, test } from 'vitest';
import { checkSettings, checkSettingsFiles } from './settings.ts';

const faults = (env: Record<string, string>): readonly string[] => {
  try {
    checkSettings(env);
    return [];
  } catch (error) {
    return (error as { details: { faults: string[] } }).details.faults;
  }
};

test('faults of the sentinel and of the agent are reported together, each variable once', () => {
  const reported = faults({
    FAME_RESUME_WINDOW_MS: 'soon',
    FAME_LOG_LEVEL: 'loud',
    OPENAI_BASE_URL: 'not a url',
    FAME_AGENTS: 'chat missing',
  });
  expect(reported.map((line) => line.split(' ')[0]).sort()).toEqual([
    'FAME_AGENTS',
    'FAME_LOG_LEVEL',
    'FAME_RESUME_WINDOW_MS',
    'OPENAI_BASE_URL',
  ]);
});

test('port 0, which lets the sentinel choose, is valid', () => {
  expect(faults({ FAME_LISTENER_PORT: '0', FAME_LISTENER_HOST: '::1' })).toEqual([]);
  expect(() => checkSettings({ FAME_LISTENER_PORT: 'x' })).toThrow(
    'The configuration has a fault:\n  FAME_LISTENER_PORT',
  );
});

test('a file of prices with faults is reported with their lines, and a good one passes', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-settings-'));
  const path = join(directory, 'prices.yaml');
  try {
    writeFileSync(path, 'prices:\n  - { model: a, inptu: 1, output: 1 }\n');
    const fault = await checkSettingsFiles({ FAME_PRICES_FILE: path }).catch(explainError);
    expect(fault).toMatch(/^FAME_PRICES_FILE has faults:\n {2}.*:2:\d+ .*\n {2}.* unknown key "inptu"/);
    writeFileSync(path, 'prices:\n  - { model: a, input: 1, output: 1 }\n');
    await checkSettingsFiles({ FAME_PRICES_FILE: path });
    await checkSettingsFiles({});
  } finally {
    rmSync(directory, { recursive: true });
  }
});
