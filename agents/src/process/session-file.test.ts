import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readAgentConfig } from './config.ts';
import { SessionFile } from './session-file.ts';

let dataDir = '';
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fame-session-'));
});
afterEach(() => rmSync(dataDir, { recursive: true }));

const CHAT = ['chat@fame.fabric'];
const log = new CaptureLog();
function open(addresses = CHAT, env: Record<string, string> = {}): SessionFile {
  const agents = addresses.map((address) => ({ address }));
  return new SessionFile(readAgentConfig({ FAME_DATA_DIR: dataDir, ...env }), agents, log);
}
/** A process that attached under this system id and bound its agents. */
function run(systemId: string, token: string, session = open()): SessionFile {
  session.linkOptions().onResumeToken!(token);
  session.keep(systemId);
  return session;
}

test('the next process with the same agents resumes the session; only its owner can read the token', () => {
  expect(open().linkOptions()).toMatchObject({ systemId: undefined, resumeToken: undefined });
  const session = run('node1', 'token1');
  session.linkOptions().onResumeToken!('token2');
  expect(open().linkOptions()).toMatchObject({ systemId: 'node1', resumeToken: 'token2' });
  expect(open(['b@x.y', ...CHAT]).linkOptions().resumeToken).toBeUndefined();
  expect(open(CHAT, { FAME_LISTENER_PORT: '9' }).linkOptions().resumeToken).toBeUndefined();
  const files = readdirSync(dataDir);
  expect(files).toHaveLength(1);
  expect(statSync(join(dataDir, files[0]!)).mode & 0o777).toBe(0o600);
});

test('replicas, whose address is that of a pool, keep no session', () => {
  const replica = open(['chat@*.fame.fabric']);
  run('node1', 'token1', replica);
  expect(readdirSync(dataDir)).toEqual([]);
  expect(replica.linkOptions()).toMatchObject({ systemId: undefined, resumeToken: undefined });
  replica.remove();
});

test('a process whose agents were not bound does not replace the session of another one', () => {
  run('node1', 'token1');
  open().linkOptions().onResumeToken!('token of a second copy');
  expect(open().linkOptions()).toMatchObject({ systemId: 'node1', resumeToken: 'token1' });
});

test('a session that ended in order leaves no file', () => {
  run('node1', 'token1').remove();
  expect(readdirSync(dataDir)).toEqual([]);
});

test('FAME_NODE_ID sets the system id; the token of another system id is not sent', () => {
  run('node1', 'token1');
  expect(open(CHAT, { FAME_NODE_ID: 'node1' }).linkOptions().resumeToken).toBe('token1');
  const other = open(CHAT, { FAME_NODE_ID: 'other' }).linkOptions();
  expect(other).toMatchObject({ systemId: 'other', resumeToken: undefined });
});

test.each(['', '{', '[]', 'null', '{"systemId":1,"resumeToken":"x"}', `{"systemId":"${'x'.repeat(200)}"}`])(
  'a damaged file begins a new session: %s',
  (content) => {
    run('node1', 'token1');
    writeFileSync(join(dataDir, readdirSync(dataDir)[0]!), content);
    expect(open().linkOptions()).toMatchObject({ systemId: undefined, resumeToken: undefined });
  },
);

test('a directory that cannot be written is reported without the token', () => {
  const file = join(dataDir, 'file');
  writeFileSync(file, '');
  run('node1', 'secret-token', open(CHAT, { FAME_DATA_DIR: join(file, 'below') }));
  expect(JSON.stringify(log.lines)).toMatch(/cannot store the session/);
  expect(JSON.stringify(log.lines)).not.toContain('secret-token');
  expect(readFileSync(file, 'utf8')).toBe('');
});
