// G11: every command and library works with a key, names a missing or wrong one with its fix, and never prints it. A fabric of real
// processes: a sentinel with keys, a chat agent with a key of its own, and a child sentinel.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '@fame-fabric/client';
import { connect as connectNode } from '@fame-fabric/client/node';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { isFabricError, systemClock, webDial } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import type { Proc } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const WRONG = `fk_0123456789ab_${'W'.repeat(43)}`;

let sentinel: OurSentinel;
let agent: Proc;
const tokens: Record<string, string> = {};
const files: Record<string, string> = {};
const outputs: string[] = [];

beforeAll(async () => {
  const dataDir = temporaryDirectory();
  const keys = new KeysChange(join(dataDir, 'keys'), systemClock);
  for (const role of ['client', 'agent', 'sentinel', 'admin'] as const) {
    const { token } = await keys.add({ name: `the-${role}`, role });
    files[role] = join(dataDir, `${role}.key`);
    writeFileSync(files[role], `${token}\n`, { mode: 0o600 });
    tokens[role] = token;
  }
  sentinel = await startOurSentinel({ dataDir });
  agent = await startOurAgent(
    { url: sentinel.url, env: { FAME_ADMISSION_TOKEN_FILE: files.agent! } },
    'chat',
    'math',
  );
});
afterAll(async () => {
  await agent.stop();
  await sentinel.proc.stop();
});

const run = async (args: string[], env: Record<string, string> = {}, input = '') => {
  const finished = await runFame({ url: sentinel.url, env }, args, input);
  outputs.push(finished.output);
  return finished;
};
const withFile = (role: string) => ({ FAME_ADMISSION_TOKEN_FILE: files[role]! });

const COMMANDS: readonly [string[], string][] = [
  [['call', 'math@fame.fabric', 'add', '{"x":1,"y":2}'], 'client'],
  [['describe', 'math@fame.fabric'], 'client'],
  [['chat', '-m', 'What is 2+2?'], 'client'],
  [['ps'], 'admin'],
  [['doctor'], 'admin'],
];

describe.each(COMMANDS)('fame %j', (args, role) => {
  test('works with a key in a variable and in a file', async () => {
    for (const env of [withFile(role), { FAME_ADMISSION_TOKEN: tokens[role]! }]) {
      const finished = await run(args, env);
      expect(finished.code, finished.output).toBe(0);
    }
  });

  test('names a missing key and a wrong one, with the fix', async () => {
    const none = await run(args);
    expect(none.code).toBe(1);
    expect(none.output).toMatch(
      /needs a key for this, and there is no file \S+\/token\..*`npx fame-fabric key add`/,
    );
    const wrong = await run(args, { FAME_ADMISSION_TOKEN: WRONG });
    expect(wrong.code).toBe(1);
    expect(wrong.output).toMatch(/refused the key from FAME_ADMISSION_TOKEN\..*`npx fame-fabric key add`/);
  });
});

test('conversations --from and trace work with a key', async () => {
  const trace = run(['trace', '--type', 'data'], withFile('admin'));
  const list = await run(['conversations', 'ls', '--from', 'chat@fame.fabric'], {
    FAME_DATA_DIR: sentinel.dataDir,
  });
  expect(list.code, list.output).toBe(0);
  const wrong = await run(['trace'], { FAME_ADMISSION_TOKEN: WRONG });
  expect(wrong).toMatchObject({ code: 1, output: expect.stringContaining('(AUTH_INVALID)') });
  await sentinel.proc.stop();
  expect(await trace).toMatchObject({ stdout: expect.any(String) });
  sentinel = await startOurSentinel({ dataDir: sentinel.dataDir, port: sentinel.port });
  await agent.waitFor(/reattached/);
});

describe('libraries', () => {
  const errorOf = async (attempt: Promise<unknown>) => {
    const error = await attempt.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!isFabricError(error)) throw new Error('it connected');
    outputs.push(error.message, String(error.stack));
    return error;
  };

  test('connect() of Node has the code and the fix, from the environment', async () => {
    for (const name of ['FAME_ADMISSION_TOKEN', 'FAME_ADMISSION_TOKEN_FILE']) vi.stubEnv(name, '');
    vi.stubEnv('FAME_DIRECT_ADMISSION_URL', sentinel.url);
    vi.stubEnv('FAME_DATA_DIR', temporaryDirectory());
    expect(await errorOf(connectNode())).toMatchObject({
      code: 'AUTH_MISSING',
      message: expect.stringContaining('needs a key for this'),
    });
    vi.stubEnv('FAME_ADMISSION_TOKEN', WRONG);
    expect(await errorOf(connectNode())).toMatchObject({
      code: 'AUTH_INVALID',
      message: expect.stringContaining('refused the key from FAME_ADMISSION_TOKEN'),
    });
    vi.stubEnv('FAME_ADMISSION_TOKEN', '');
    vi.stubEnv('FAME_ADMISSION_TOKEN_FILE', files.client!);
    await using client = await connectNode();
    expect(await client.call('math@fame.fabric', 'add', { x: 1, y: 2 })).toBe(3);
  });

  test.each([
    ['Node', wsDial],
    ['browsers', webDial],
  ])('connect({ url, token }) of %s', async (_name, dial) => {
    const { url } = sentinel;
    expect(await errorOf(connect({ url, dial }))).toMatchObject({ code: 'AUTH_MISSING' });
    expect(await errorOf(connect({ url, dial, token: WRONG }))).toMatchObject({ code: 'AUTH_INVALID' });
    await using client = await connect({ url, dial, token: tokens.client! });
    expect(await client.call('math@fame.fabric', 'add', { x: 1, y: 2 })).toBe(3);
  });

  test('an agent without a key ends with the code and the fix', async () => {
    const finished = await run(['agent', 'echo']);
    expect(finished.code).toBe(1);
    expect(finished.output).toMatch(/needs a key for this.*\(AUTH_MISSING\)/);
  });
});

test('a child sentinel attaches with a key, and nodes below it are called', async () => {
  const child = await startOurSentinel({ env: { FAME_PARENT_URL: sentinel.url, ...withFile('sentinel') } });
  const echo = await startOurAgent({ url: child.url }, 'echo');
  const call = await run(['call', 'echo@fame.fabric', 'echo', '{"text":"hi"}'], withFile('client'));
  expect(call.output).toContain('hi');
  await echo.stop();
  await child.proc.stop();
});

test('no output has a key', () => {
  const all = [...outputs, sentinel.proc.output, agent.output].join('\n');
  for (const token of [WRONG, ...Object.values(tokens)]) expect(all).not.toContain(token.slice(-43));
});
