import { randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Envelope, Link, makeEnvelope } from '@fame-fabric/shared';
import { CaptureLog, ManualClock, ScriptedSentinel } from '@fame-fabric/shared/testing';
import { expect, onTestFinished, test } from 'vitest';
import { defineAgent } from '../agent/agent.ts';
import type { Agent } from '../agent/agent-types.ts';
import { StoredState } from '../agent/state/agent-state.ts';
import { readMasterKeys, StateKeys } from '../agent/state/state-keys.ts';
import { ChatAgent } from '../conversation/chat-agent.ts';
import { offlineModel } from '../model/offline/offline-model.ts';
import { RefineAgent } from '../refine/refine-agent.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { storePath } from '../store/open-store.ts';
import { SqliteStore } from '../store/sqlite/sqlite-store.ts';
import { readAgentConfig } from './config.ts';
import { linkOptions, runAgents } from './run-agents.ts';

test('HD29: the log of envelopes has the known header fields, each cut, and no content', () => {
  const log = new CaptureLog();
  const { trace } = linkOptions(readAgentConfig({ FAME_SHOW_ENVELOPES: 'true' }), log);
  const long = 'x'.repeat(5_000);
  const envelope = makeEnvelope(
    { type: 'Data', payload: 'canary payload' },
    {
      to: long,
      corrId: 'c1',
      rtype: 2,
      capabilities: Array.from({ length: 32 }, () => long),
      sec: 'canary sec',
      aft: 'canary aft',
      meta: { note: 'canary meta' },
    },
  );
  const unknown = { note: 'canary field', 'canary name': 1, [long]: long, replyTo: { text: 'canary type' } };
  trace!('received', { ...envelope, ...unknown } as unknown as Envelope);
  const [line] = log.lines;
  expect(line).toMatchObject({
    level: 'info',
    message: 'envelope received',
    fields: { id: envelope.id, corrId: 'c1', rtype: 2, frame: 'Data' },
  });
  const text = JSON.stringify(line);
  expect(text).not.toContain('canary');
  expect(text.length).toBeLessThan(4_000);
});

test('HD31: agents that wait for their first sentinel attach within 2 s of its start', async () => {
  const [sentinel, clock, log] = [new ScriptedSentinel(), new ManualClock(), new CaptureLog()];
  sentinel.isDown = true;
  const options = linkOptions(readAgentConfig({ FAME_CONNECT_TIMEOUT_MS: '600000' }), log);
  const link = new Link({ ...options, dial: sentinel.dial, clock });
  const connecting = link.connect();
  for (let round = 0; round < 10; round++) {
    const before = sentinel.dials;
    await clock.run(20_000, 50);
    expect(sentinel.dials - before).toBeGreaterThanOrEqual(9);
  }
  sentinel.isDown = false;
  await clock.run(2_000, 50);
  expect(link.state).toBe('attached');
  await connecting;
  await link.close();
});

const model = offlineModel();
const models = { default: model, smart: model };
test.each<[string, Agent, number, string]>([
  ['a chat agent', new ChatAgent({ model }), 1, 'FAME_DATA_DIR'],
  ['a refine agent', new RefineAgent({ models }), 1, 'FAME_DATA_DIR'],
  ['an agent with state', defineAgent({ address: 'shop@fame.fabric', state: true }), 1, 'FAME_DATA_DIR'],
  ['an agent with a store of its own', new ChatAgent({ model, store: new MemoryStore() }), 69, 'No sentinel'],
])('before %s waits for a sentinel, its store is opened', async (_, agent, code, line) => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-run-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'file');
  writeFileSync(file, '');
  const lines: string[] = [];
  const env = {
    FAME_DATA_DIR: join(file, 'data'),
    FAME_DIRECT_ADMISSION_URL: 'ws://127.0.0.1:9/fame/v1/attach/ws/downstream',
    FAME_CONNECT_TIMEOUT_MS: '1',
    FAME_LOG_LEVEL: 'silent',
  };
  expect(await runAgents([agent], { env, write: (text) => lines.push(text) })).toBe(code);
  expect(lines).toEqual([expect.stringContaining(line)]);
});

test('an agent whose state needs a missing key is not started, and starts again with the key', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-run-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const [key, other] = [randomBytes(32).toString('base64'), randomBytes(32).toString('hex')];
  const agent = defineAgent({ address: 'shop@fame.fabric', state: true });
  const store = await SqliteStore.open({ path: storePath(directory) });
  await new StoredState(store, agent.address, new StateKeys(readMasterKeys(key))).set('cart', 'lamp');
  await store.close();
  const run = async (variables: Record<string, string>): Promise<[number, string]> => {
    const lines: string[] = [];
    const env = {
      FAME_DATA_DIR: directory,
      FAME_DIRECT_ADMISSION_URL: 'ws://127.0.0.1:9/fame/v1/attach/ws/downstream',
      FAME_CONNECT_TIMEOUT_MS: '1',
      FAME_LOG_LEVEL: 'silent',
      ...variables,
    };
    const code = await runAgents([agent], { env, write: (text) => lines.push(text) });
    return [code, lines.join('\n')];
  };
  const missing = expect.stringMatching(/encrypted with the key [0-9a-f]{16}.* \(STATE_KEY_MISSING\)$/);
  expect(await run({})).toEqual([1, missing]);
  expect(await run({ FAME_STATE_MASTER_KEY: other })).toEqual([1, missing]);
  const invalid = expect.stringContaining('FAME_STATE_MASTER_KEY does not have the form of a key');
  expect(await run({ FAME_STATE_MASTER_KEY: 'canary' })).toEqual([2, invalid]);
  expect((await run({ FAME_STATE_MASTER_KEY: 'canary' }))[1]).not.toContain('canary');
  const file = join(directory, 'keys');
  writeFileSync(file, `${other},${key}\n`);
  for (const variables of [
    { FAME_STATE_MASTER_KEY: `${other},${key}` },
    { FAME_STATE_MASTER_KEY_FILE: file },
    { FAME_STORAGE_MASTER_KEY: key },
  ]) {
    expect(await run(variables)).toEqual([69, expect.stringContaining('No sentinel')]);
  }
});

test('I2: an agent process names the variables of naylence without an effect', async () => {
  const lines: string[] = [];
  const env = {
    FAME_PLUGINS: 'x',
    FAME_DIRECT_ADMISSION_URL: 'ws://127.0.0.1:9/fame/v1/attach/ws/downstream',
    FAME_CONNECT_TIMEOUT_MS: '1',
    FAME_LOG_LEVEL: 'silent',
  };
  const agent = new ChatAgent({ model, store: new MemoryStore() });
  expect(await runAgents([agent], { env, write: (text) => lines.push(text) })).toBe(69);
  expect(lines).toEqual([
    expect.stringMatching(/^These variables of naylence have no effect here: FAME_PLUGINS\. /),
    expect.stringContaining('No sentinel'),
  ]);

  // `fame dev` restarts the process, and its author has read the line.
  const onReport = (report: unknown): void => void Object.assign(report as object, { isRestart: true });
  subscribe('fame-fabric.agents', onReport);
  onTestFinished(() => void unsubscribe('fame-fabric.agents', onReport));
  lines.length = 0;
  expect(await runAgents([agent], { env, write: (text) => lines.push(text) })).toBe(69);
  expect(lines).toEqual([expect.stringContaining('No sentinel')]);
});
