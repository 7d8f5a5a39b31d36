// N5: nginx and Caddy with TLS before the sentinel, with the configurations of docs/operating.md: a conversation through them, the
// nodes and the metrics, a restart of the sentinel, and the refusal of programs without the key.
import { copyFileSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { gate } from '@fame-fabric/agents/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { TestAuthority } from '../kit/certificates.ts';
import { runFame } from '../kit/commands.ts';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import { eventually } from '../kit/eventually.ts';
import { closeLinks, connectLink, serviceOf } from '../kit/our-node.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { HOST, hasProxy, type RunningProxy, startProxy } from '../kit/proxies.ts';
import {
  listNodes,
  localKey,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';
import { lastUserText, spawnAgent, startModel, stopStack } from '../kit/stack.ts';

afterEach(stopStack);

const SENTINEL_ENV = { FAME_ALLOWED_HOSTS: HOST };

/** Requests a page by the name of the proxy. Resolves to its status. */
function statusOf({ port, env }: RunningProxy, path: string, headers: Record<string, string> = {}) {
  return new Promise<number>((resolve, reject) => {
    request(
      {
        host: '127.0.0.1',
        servername: HOST,
        port,
        path,
        ca: readFileSync(env.NODE_EXTRA_CA_CERTS!),
        headers: { host: HOST, ...headers },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode!);
      },
    )
      .on('error', reject)
      .end();
  });
}

describe.each(['nginx', 'caddy'] as const)('N5: %s', (kind) => {
  test.skipIf(!hasProxy(kind))('carries a conversation, over a restart of the sentinel', async () => {
    const held = gate();
    const model = await startModel({
      respond: (asked) =>
        lastUserText(asked) === 'long' ? ['The beginning.', held, ' The end.'] : `re: ${lastUserText(asked)}`,
    });
    let sentinel: OurSentinel = await startOurSentinel({ env: SENTINEL_ENV });
    const proxy = await startProxy(kind, sentinel.port);
    const env = {
      ...proxy.env,
      FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token'),
      FAME_DIRECT_ADMISSION_URL: proxy.url,
    };
    const fame = (...words: string[]) =>
      startNode(fameArgs(...words), {
        name: words[0]!,
        env: { ...env, FAME_DATA_DIR: temporaryDirectory() },
      });
    const agent = spawnAgent(proxy.url, { model, env });
    await agent.waitFor(/ is served through /);

    const long = fame('chat', '-m', 'long');
    long.child.stdin?.end();
    await long.waitFor(/The beginning\./);
    expect(long.output).not.toContain('The end.');
    held.open();
    await long.waitFor(/The end\./);
    expect((await long.exited).code, long.output).toBe(0);

    const ps = fame('ps');
    expect((await ps.exited).code, ps.output).toBe(0);
    expect(ps.output).toContain('chat@fame.fabric');

    const { port, dataDir } = sentinel;
    await sentinel.proc.stop();
    sentinel = await startOurSentinel({ port, dataDir, env: SENTINEL_ENV });
    await eventually(async () => {
      const nodes = await listNodes(sentinel);
      expect(nodes.flatMap(({ addresses }) => addresses)).toContain('chat@fame.fabric');
    });
    const again = fame('chat', '-m', 'hello');
    again.child.stdin?.end();
    expect((await again.exited).code, again.output).toBe(0);
    expect(again.output).toContain('re: hello');
  });

  test.skipIf(!hasProxy(kind))(
    'admits holders of the key, and shows others only that it is ready',
    async () => {
      const sentinel = await startOurSentinel({ env: SENTINEL_ENV });
      const proxy = await startProxy(kind, sentinel.port);
      const upgrade = {
        upgrade: 'websocket',
        connection: 'upgrade',
        'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        'sec-websocket-version': '13',
      };
      const path = '/fame/v1/attach/ws/downstream/stranger';
      expect(await statusOf(proxy, '/readyz')).toBe(200);
      expect(await statusOf(proxy, '/version')).toBe(401);
      expect(await statusOf(proxy, path, upgrade)).toBe(401);
      expect(await statusOf(proxy, '/metrics', { authorization: 'Bearer wrong' })).toBe(401);
      const authorization = `Bearer ${localKey(sentinel.dataDir)}`;
      expect(await statusOf(proxy, '/metrics', { authorization })).toBe(200);
      expect(await statusOf(proxy, '/version', { authorization })).toBe(200);
      // The name that clients use must be listed.
      const other = await startOurSentinel();
      const otherProxy = await startProxy(kind, other.port);
      expect(
        await statusOf(otherProxy, '/version', { authorization: `Bearer ${localKey(other.dataDir)}` }),
      ).toBe(403);
    },
  );
});

describe('G8: nginx before a sentinel that speaks TLS itself', () => {
  const sentinels = embeddedSentinels();
  test.skipIf(!hasProxy('nginx'))(
    'keys pass through both connections, and a new certificate ends no call',
    async () => {
      const dataDir = temporaryDirectory();
      const authority = new TestAuthority(dataDir);
      const subject = { subject: '/CN=sentinel', altNames: 'DNS:localhost' };
      const { cert, key } = authority.issue('server', subject);
      const commands = { url: '', env: { FAME_DATA_DIR: dataDir } };
      const added = await runFame(commands, ['key', 'add', 'ada']);
      const token = added.stdout.trim();
      const tls = { certFile: cert, keyFile: key };
      const sentinel = await sentinels.start({ tls, dataDir, allowedHosts: [HOST] });
      const proxy = await startProxy('nginx', sentinel.port, { sentinelCa: authority.file });

      setDefaultCACertificates([...getCACertificates('default'), readFileSync(authority.file, 'utf8')]);
      const agent = await connectLink(sentinel.url.replace('127.0.0.1', 'localhost'), {
        token: localKey(dataDir),
      });
      await agent.bind(
        'who@fame.fabric',
        serviceOf({ any: async (_, call) => (await call.caller)?.principal }),
      );
      const through = (env: Record<string, string>) => ({ url: proxy.url, env: { ...proxy.env, ...env } });
      const call = ['call', 'who@fame.fabric', 'any'];
      expect(await runFame(through({ FAME_ADMISSION_TOKEN: token }), call)).toMatchObject({
        stdout: 'ada\n',
      });
      const wrong = await runFame(through({ FAME_ADMISSION_TOKEN: 'wrong' }), call);
      expect(wrong.output).toContain('AUTH_INVALID');
      expect(wrong.output).not.toContain(token);

      const running = runFame(through({ FAME_ADMISSION_TOKEN: token }), [...call, '--timeout', '20s']);
      const next = authority.issue('next', subject);
      copyFileSync(next.cert, cert);
      copyFileSync(next.key, key);
      sentinel.reload();
      expect(await running).toMatchObject({ code: 0 });
      expect(await runFame(through({ FAME_ADMISSION_TOKEN: token }), call)).toMatchObject({ code: 0 });
      await closeLinks();
    },
  );
});
