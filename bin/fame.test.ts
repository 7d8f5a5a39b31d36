import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { VERBS } from './verbs.ts';

const FAME = fileURLToPath(new URL('./fame.ts', import.meta.url));
let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'fame-bin-'));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

/** Runs `fame` from its sources, in a temporary directory. */
async function fame(args: string[], env: Record<string, string> = {}, input = '') {
  const child = spawn(process.execPath, ['--conditions=fame-source', FAME, ...args], {
    cwd,
    env: { PATH: process.env.PATH, ...env },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out, err };
}

// A port without a listener, at least at the time of the check.
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('fame and fame --help list every verb that is not hidden', async () => {
  const { code, out } = await fame([]);
  expect(code).toBe(0);
  for (const [name, { about, isHidden }] of Object.entries(VERBS)) {
    if (isHidden) continue;
    expect(out).toContain(name);
    expect(out).toContain(about);
  }
  expect((await fame(['--help'])).out).toBe(out);
});

test.each(Object.keys(VERBS))(
  '%s --help shows its usage, its flags and examples, and runs nothing',
  async (name) => {
    const { code, out, err } = await fame([name, '--help']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(`Usage: ${VERBS[name]!.usage}`);
    for (const flag of Object.keys(VERBS[name]!.flags ?? {})) expect(out).toContain(`--${flag}`);
    for (const example of VERBS[name]!.examples) expect(out).toContain(example);
  },
);

test.each([
  [['chta'], 'Did you mean `npx fame-fabric chat`?'],
  [['kubernetes'], '`npx fame-fabric help` lists the commands'],
  [['ps', '--jsn'], 'Did you mean --json?'],
  [['ps', 'extra'], '"extra"'],
  [['call', 'chat@fame.fabric'], 'Usage: npx fame-fabric call'],
  [['call', 'not-an-address', 'x'], 'ADDRESS_INVALID'],
  [['call', 'chat@fame.fabric', 'x', '{'], 'is not JSON'],
  [['call', 'chat@fame.fabric', 'x', '--timeout', 'soon'], '30s'],
  [['help', 'bogus'], '`npx fame-fabric help` lists the commands'],
  [['help', 'chta'], 'Did you mean `npx fame-fabric chat`?'],
  [
    ['call', 'chat@fame.fabric', 'x', '--timeout', '-5'],
    '--timeout takes a value that does not begin with a dash',
  ],
  [['ps', '--json=1'], '--json takes no value'],
  [['local', 'strat'], 'did you mean start?'],
  [['offline-model', '--port', 'x'], '--port takes a port'],
  [['up', '--port', 'abc'], '--port takes a port, a whole number from 0 to 65535, not "abc"'],
  [['sentinel', '--port', '65536'], '--port takes a port'],
  [['team'], 'team takes check, diagram or run, and the file of a team.'],
  [['conversations', 'lst'], 'Did you mean ls?'],
  [['trace', '--type', 'dta'], 'No frame type contains "dta". The types are: NodeAttach'],
])('fame %j is wrong usage: exit code 2, and a hint', async (args, text) => {
  const { code, out, err } = await fame(args);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toContain(text);
  expect(err).not.toMatch(/\n\s+at /);
});

test('all faults of the configuration are reported at once, exit code 2', async () => {
  const { code, err } = await fame(['ps'], { FAME_LISTENER_PORT: 'x', FAME_SHOW_ENVELOPES: 'maybe' });
  expect(code).toBe(2);
  expect(err).toContain('FAME_LISTENER_PORT');
  expect(err).toContain('FAME_SHOW_ENVELOPES');
});

test.each([
  [['sentinel', '--port', '0']],
  [['agent']],
  [['up', '--port', '0']],
  [['ps']],
  [['chat']],
  [['call', 'a@b', 'c']],
])('NF0: fame %j refuses a security profile that is not built: exit code 2', async (args) => {
  const { code, out, err } = await fame(args, { FAME_SECURITY_PROFILE: 'strict-overlay' });
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toContain(
    'FAME_SECURITY_PROFILE is "strict-overlay"; expected open, none, noop, gated, overlay, or unset.',
  );
});

test('I2: a command names the variables without an effect in one line on stderr', async () => {
  const env = {
    FAME_PLUGINS: 'x',
    FAME_HMAC_SECRET: 's3cret',
    FAME_LISTENER_PORT: String(await freePort()),
  };
  const { err } = await fame(['ps'], env);
  expect(err.split('\n').filter((line) => line.includes('FAME_PLUGINS'))).toEqual([
    'These variables of naylence have no effect here: FAME_HMAC_SECRET, FAME_PLUGINS. docs/naylence.md lists the alternatives.',
  ]);
  expect(err).not.toContain('s3cret');
});

test('a .env file in the current directory is read, and the environment takes precedence', async () => {
  writeFileSync(join(cwd, '.env'), 'FAME_LISTENER_PORT=from-file\n');
  try {
    expect((await fame(['ps'])).err).toContain('from-file');
    expect((await fame(['ps'], { FAME_LISTENER_PORT: 'from-env' })).err).toContain('from-env');
  } finally {
    rmSync(join(cwd, '.env'));
  }
});

test.each([
  [['ps'], 'make start'],
  [['chat'], 'make start'],
  [['call', 'chat@fame.fabric', 'describe'], 'make start'],
  [['trace'], 'make start'],
  [['doctor'], 'make start'],
])('without a sentinel, fame %j prints how to start one: exit code 69', async (args, text) => {
  const env = { FAME_LISTENER_PORT: String(await freePort()), FAME_CONNECT_TIMEOUT_MS: '200' };
  const { code, out, err } = await fame(args, env, 'hello\n');
  expect(code).toBe(69);
  expect(out + err).toContain(text);
  expect(out).not.toContain('A>');
});

test('fame call --timeout also limits the wait for a sentinel', async () => {
  const args = ['call', 'chat@fame.fabric', 'describe', '--timeout', '200ms'];
  const { code, err } = await fame(args, { FAME_LISTENER_PORT: String(await freePort()) });
  expect(code).toBe(69);
  expect(err).toContain('within 0.2 s');
});

test('a server on the port that is not a sentinel is recognized', async () => {
  const server = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  try {
    const { code, err } = await fame(['ps'], { FAME_LISTENER_PORT: String(port) });
    expect(code).toBe(69);
    expect(err).toContain('not a sentinel');
    const doctor = await fame(['doctor', '--json'], { FAME_LISTENER_PORT: String(port) });
    expect(doctor.code).toBe(69);
    const findings = JSON.parse(doctor.out) as { check: string; ok: boolean; found: string }[];
    expect(findings.find(({ check }) => check === 'sentinel')).toMatchObject({ ok: false });
  } finally {
    server.close();
  }
});

test('D8: a port in use is exit code 1 for every command that listens', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const port = String((server.address() as { port: number }).port);
  try {
    for (const verb of ['sentinel', 'up', 'offline-model']) {
      expect(await fame([verb, '--port', port])).toMatchObject({ code: 1, out: '' });
    }
  } finally {
    server.close();
  }
});

test('doctor creates no data directory', async () => {
  const { out } = await fame(['doctor'], {
    FAME_LISTENER_PORT: String(await freePort()),
    FAME_DATA_DIR: 'none',
  });
  expect(out).toContain('none, which the first start creates');
  expect(existsSync(join(cwd, 'none'))).toBe(false);
});

test('O9: a sentinel whose limit of open files is too low for its sessions logs a warning', async () => {
  const command = `ulimit -n 64; exec "$0" --conditions=fame-source "${FAME}" sentinel --port 0`;
  const env = { PATH: process.env.PATH, FAME_DATA_DIR: join(cwd, 'few') };
  const child = spawn('sh', ['-c', command, process.execPath], { cwd, env });
  let err = '';
  for await (const chunk of child.stderr) {
    err += chunk;
    if (err.includes('ulimit -n') && err.includes('listens on')) break;
  }
  expect(err).toMatch(/"openFiles":64,"maxSessions":20000,"sessions":32/);
  child.kill('SIGTERM');
  await once(child, 'exit');
});

test('a sentinel listens before it has loaded pino or the link', async () => {
  const hooks = `import { registerHooks } from 'node:module';
    registerHooks({ load: (url, context, next) => { process.stderr.write(url + '\\n'); return next(url, context); } });`;
  const args = ['--import', `data:text/javascript,${encodeURIComponent(hooks)}`, '--conditions=fame-source'];
  const env = { PATH: process.env.PATH, FAME_DATA_DIR: join(cwd, 'cold') };
  const child = spawn(process.execPath, [...args, FAME, 'sentinel', '--port', '0'], { cwd, env });
  let err = '';
  for await (const chunk of child.stderr) {
    err += chunk;
    if (err.includes('pino.js')) break;
  }
  const [first = ''] = err.split('listens on');
  expect(first).toContain('/sentinel/src/sentinel.ts\n');
  expect(first.match(/.*\/(pino|link\/link)\..*/g)).toBeNull();
  child.kill('SIGTERM');
  await once(child, 'exit');
});

test('version, as text and as JSON', async () => {
  const { version } = JSON.parse((await fame(['version', '--json'])).out);
  expect(version).toMatch(/^\d+\.\d+\.\d+/);
  expect((await fame(['--version'])).out).toContain(version);
});

test.each([['chat'], ['call', 'chat@fame.fabric', 'describe']])(
  'Ctrl-C while fame %s waits for a sentinel ends it with 130',
  async (...args) => {
    const env = { PATH: process.env.PATH, FAME_LISTENER_PORT: String(await freePort()) };
    const child = spawn(process.execPath, ['--conditions=fame-source', FAME, ...args], { cwd, env });
    child.stderr.once('data', () => child.kill('SIGINT')); // its first output reports the wait
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    expect(code).toBe(130);
  },
);

test('a verb ends silently when its reader, such as head, closes the pipe', async () => {
  const env = { PATH: process.env.PATH, FAME_LISTENER_PORT: String(await freePort()) };
  const child = spawn(process.execPath, ['--conditions=fame-source', FAME, 'doctor'], { cwd, env });
  child.stdout.destroy();
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  expect({ code, err }).toEqual({ code: 0, err: '' });
});

test('D2: bin/fame becomes the process, so that a signal reaches it', async () => {
  const root = join(cwd, 'a clone');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync(fileURLToPath(new URL('./fame', import.meta.url)), join(root, 'bin', 'fame'));
  symlinkSync(join('a clone', 'bin', 'fame'), join(cwd, 'link'));
  const env = { PATH: `${join(process.execPath, '..')}:${process.env.PATH}` };

  const unbuilt = spawn(join(cwd, 'link'), ['ps'], { env });
  let err = '';
  unbuilt.stderr.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  expect((await once(unbuilt, 'close'))[0]).toBe(1);
  expect(err).toContain('npm ci && npm run build');

  mkdirSync(join(root, 'dist'));
  const script =
    'console.log(JSON.stringify([process.pid, ...process.argv.slice(2)])); setInterval(() => {}, 1000);';
  writeFileSync(join(root, 'dist', 'fame.js'), script);
  const child = spawn(join(cwd, 'link'), ['call', 'two words'], { env });
  const [line] = await once(child.stdout, 'data');
  expect(JSON.parse(String(line))).toEqual([child.pid, 'call', 'two words']);
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([null, 'SIGTERM']);
});
