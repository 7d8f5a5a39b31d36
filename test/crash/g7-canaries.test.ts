// G7, P21: planted secrets of every kind, five log levels, all processes, with TLS and the profile gated. No output, page, audit log,
// error, crash or command line contains one.
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inspect } from 'node:util';
import { callTools, httpError } from '@fame-fabric/agents/testing';
import { connect } from '@fame-fabric/client/node';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { type LogLevel, newId, systemClock } from '@fame-fabric/shared';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { TestAuthority } from '../kit/certificates.ts';
import { runFame } from '../kit/commands.ts';
import { eventually } from '../kit/eventually.ts';
import { fameArgs, freePort, healthy, type Proc, ROOT, startNode } from '../kit/processes.ts';
import { localKey, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, lastUserText, startModel, stopStack } from '../kit/stack.ts';

const CLIENT = { id: 'canary-client', secret: 'canary-client-secret-0123' };
const WEBHOOK = { token: 'canary-webhook-token', credentials: 'canary-webhook-credentials' };
const SYSTEM_PROMPT = 'canary-system-prompt';
const USER_TEXT = 'canary-user-text';
const FAILING_TEXT = 'canary-failing-text';
const API_KEY = 'sk-canary-model-key-0123456789';
/** The product of the factors is the output of a tool, which appears nowhere else. */
const TOOL = { expression: '8675309*1000003', output: '8675335025927' };

/** Any token with three parts, such as those that nodes request by themselves. */
const ANY_JWT = /eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{20,}/;
const counts = { outputs: 0, canaries: 0, hits: 0 };

afterEach(stopStack);
afterAll(() => {
  console.info(`G7: ${counts.canaries} canaries searched in ${counts.outputs} outputs, ${counts.hits} hits`);
});

/** The lines of the private key of a PEM file. */
const keyLines = (file: string): string[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.length > 20 && !line.startsWith('-'));

/** The command lines of all processes of this machine, but that of this test. */
function commandLines(): string {
  const lines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return ''; // it has ended
      }
    });
  return lines.join('\n');
}

/** The text of an error with its stack, causes and properties. */
const wholeError = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => {
      throw new Error('it was not refused');
    },
    (error: Error) =>
      `${inspect(error, { depth: 20, showHidden: true })}\n${error.stack}\n${JSON.stringify(error)}`,
  );

describe.each<LogLevel>(['trace', 'debug', 'info', 'warn', 'error'])('G7: at log level %s', (level) => {
  test('no secret leaves the processes', async () => {
    const dataDir = temporaryDirectory();
    const authority = new TestAuthority(dataDir);
    const server = authority.issue('server', { subject: '/CN=sentinel', altNames: 'IP:127.0.0.1' });
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(authority.file, 'utf8')]);
    const masterKey = randomBytes(32).toString('base64');
    const keys = new KeysChange(join(dataDir, 'keys'), systemClock);
    const [admin, revoked] = [
      await keys.add({ name: 'root', role: 'admin' }),
      await keys.add({ name: 'revoked', role: 'client' }),
    ];
    await keys.remove('revoked');
    const common = {
      FAME_LOG_LEVEL: level,
      FAME_SHOW_ENVELOPES: 'true',
      NODE_EXTRA_CA_CERTS: authority.file,
    };

    // An issuer, a sentinel, and two agents with tokens of the issuer.
    const [issuerPort, port] = [await freePort(), await freePort()];
    const issuerUrl = `http://127.0.0.1:${issuerPort}`;
    const issuerEnv = {
      FAME_DATA_DIR: temporaryDirectory(),
      FAME_JWT_CLIENT_ID: CLIENT.id,
      FAME_JWT_CLIENT_SECRET: CLIENT.secret,
    };
    const issuer = startNode(fameArgs('token', 'serve', '--port', String(issuerPort), '--expires', '3s'), {
      name: 'issuer',
      env: { ...common, ...issuerEnv },
    });
    await healthy(`${issuerUrl}/health`, issuer);
    const auditLog = join(dataDir, 'audit.jsonl');
    const sentinel = startNode(fameArgs('sentinel'), {
      name: 'sentinel',
      env: {
        ...common,
        FAME_LISTENER_PORT: String(port),
        FAME_DATA_DIR: dataDir,
        FAME_TLS_CERT_FILE: server.cert,
        FAME_TLS_KEY_FILE: server.key,
        FAME_SECURITY_PROFILE: 'gated',
        FAME_JWT_TRUSTED_ISSUER: issuerUrl,
        FAME_JWT_ALGORITHM: 'EdDSA',
        FAME_JWT_AUDIENCE: 'fame.fabric',
        FAME_AUDIT_LOG: auditLog,
      },
    });
    const http = `https://127.0.0.1:${port}`;
    await healthy(`${http}/readyz`, sentinel);
    const url = `wss://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
    const model = await startModel({
      respond: (request) => {
        if (lastUserText(request).includes(FAILING_TEXT)) {
          return httpError(400, { message: `Bad key ${API_KEY} for "${lastUserText(request)}"` });
        }
        const isAfterTool = request.messages.at(-1)?.role === 'tool';
        return isAfterTool ? 'Done.' : callTools({ name: 'calculator', arguments: TOOL });
      },
    });
    const agentEnv = {
      ...common,
      FAME_DIRECT_ADMISSION_URL: url,
      FAME_ADMISSION_TOKEN_URL: `${issuerUrl}/oauth/token`,
      FAME_ADMISSION_CLIENT_ID: CLIENT.id,
      FAME_ADMISSION_CLIENT_SECRET: CLIENT.secret,
      FAME_JWT_AUDIENCE: 'fame.fabric',
      FAME_STATE_MASTER_KEY: masterKey,
      OPENAI_API_KEY: API_KEY,
      OPENAI_BASE_URL: model.url,
    };
    const program = ['--conditions=fame-source', join(ROOT, 'test/crash/canary-program.ts')];
    const start = (name: string, args: readonly string[]): Proc =>
      startNode(args, { name, env: { ...agentEnv, FAME_DATA_DIR: temporaryDirectory() } });
    const agents = [start('chat', fameArgs('agent', 'chat')), start('work', program)];
    const token = admin.token;
    const log = new CaptureLog();
    const client = await connect({ url, token, log });
    await eventually(() => client.call(CHAT, 'describe', {}));
    await eventually(() => client.call('work@fame.fabric', 'describe', {}));
    const jwt = (
      await runFame({ url: '', env: issuerEnv }, [
        'token',
        'issue',
        '--port',
        String(issuerPort),
        '--sub',
        'ada',
      ])
    ).stdout.trim();

    const canaries = [
      ...[admin.token, revoked.token, localKey(dataDir)].map((key) => key.slice(-30)),
      ...jwt.split('.').slice(1),
      CLIENT.secret,
      ...Object.values(WEBHOOK),
      ...keyLines(server.key),
      masterKey,
      SYSTEM_PROMPT,
      USER_TEXT,
      FAILING_TEXT,
      TOOL.output,
      API_KEY,
    ];

    // A trace, a conversation with a tool and a refusal of the model, a task with a webhook, and every command.
    const outputs: Record<string, string> = {};
    const abort = new AbortController();
    const headers = { authorization: `Bearer ${token}` };
    const trace = await fetch(`${http}/fame/v1/trace`, { headers, signal: abort.signal });
    let traced = '';
    const tracing = (async () => {
      for await (const chunk of trace.body!) traced += Buffer.from(chunk).toString();
    })().catch(() => {}); // `abort` ends it
    const cli = { ...common, FAME_ADMISSION_TOKEN: token };
    const run = async (args: string[], env: Record<string, string>, input = '') => {
      const finished = await runFame({ url, env: { ...common, ...env } }, args, input);
      outputs[`fame ${args.join(' ')} ${Object.keys(outputs).length}`] = finished.output;
      return finished;
    };
    const chat = await run(
      ['chat', '--lines'],
      { ...cli, FAME_SYSTEM_PROMPT: SYSTEM_PROMPT },
      `Hello ${USER_TEXT}\nNow ${FAILING_TEXT}\nexit\n`,
    );
    expect(chat.stdout).toContain('Done.');
    expect(chat.output).toContain('MODEL_REFUSED');
    expect(JSON.stringify(model.requests.map(({ body }) => body))).toContain(TOOL.output);
    const work = client.task('work@fame.fabric');
    const { id } = await work.start({ text: USER_TEXT }, { id: newId() });
    const push = (url: string) => ({
      url,
      token: WEBHOOK.token,
      authentication: { schemes: ['bearer'], credentials: WEBHOOK.credentials },
    });
    // Nothing serves the receiver, so the notifications fail.
    await work.setPush(id, push('receiver@fame.fabric'));
    outputs.push = await wholeError(work.setPush(id, push('https://127.0.0.1/push')));
    await work.cancel(id);
    expect(await client.call('work@fame.fabric', 'keep', { text: USER_TEXT })).toBe(true);
    const [wrong, gone] = [`${token.slice(0, -1)}~`, revoked.token];
    await Promise.all([
      run(['ps'], cli),
      run(['describe', CHAT], cli),
      run(['doctor'], cli),
      run(['ps'], { FAME_ADMISSION_TOKEN: wrong }),
      run(['describe', CHAT], { FAME_ADMISSION_TOKEN: gone }),
      run(['trace'], { FAME_ADMISSION_TOKEN: `${jwt.slice(0, -4)}AAAA` }),
      run(['agent', 'echo'], { ...agentEnv, FAME_ADMISSION_CLIENT_SECRET: `${CLIENT.secret}-wrong` }),
      run(['agent', 'echo'], { ...agentEnv, FAME_STATE_MASTER_KEY: `${masterKey}!` }),
      run(['sentinel'], { FAME_TLS_CERT_FILE: server.key, FAME_TLS_KEY_FILE: server.key }),
    ]);
    outputs['command lines'] = commandLines();
    outputs.errors = (
      await Promise.all([
        wholeError(connect({ url, token: wrong })),
        wholeError(connect({ url, token: gone })),
        wholeError(connect({ url, token: `${jwt.slice(0, -4)}AAAA` })),
        wholeError(client.call('work@fame.fabric', 'fail', { text: USER_TEXT })),
        wholeError(client.call('work@fame.fabric', 'keep', { text: 7 })),
      ])
    ).join('\n');

    // The agents have renewed their tokens before the crash.
    await Promise.allSettled([client.call('work@fame.fabric', 'crash', {})]);
    await agents[1]!.exited;
    expect(agents[1]!.output).toContain('a planned crash');
    const pages = ['/metrics', '/fame/v1/nodes', '/healthz', '/version'].map(async (path) =>
      (await fetch(`${http}${path}`, { headers })).text(),
    );
    outputs.pages = (await Promise.all(pages)).join('\n');
    await client.close();
    outputs['client log'] = inspect(log.lines, { depth: 20, maxArrayLength: null });
    await Promise.all([agents[0]!.stop(), issuer.stop(), sentinel.stop('SIGTERM', 8_000)]);
    abort.abort();
    await tracing;
    expect(traced).toContain('"type":"Data"');
    Object.assign(outputs, {
      chat: agents[0]!.output,
      work: agents[1]!.output,
      issuer: issuer.output,
      sentinel: sentinel.output,
      trace: traced,
      audit: readFileSync(auditLog, 'utf8'),
    });
    expect(outputs.audit).toContain('"principal":"root"');
    counts.canaries = canaries.length;
    for (const [where, text] of Object.entries(outputs)) {
      counts.outputs++;
      const hits = canaries.filter((canary) => text.includes(canary));
      counts.hits += hits.length;
      expect({ where, hits, jwt: ANY_JWT.exec(text)?.[0] }).toEqual({ where, hits: [], jwt: undefined });
    }
  });
});
