// The profile `cluster` of docker-compose.yml: its services, their networks and rights, and their settings. compose.test.ts checks the
// schema of the whole file. crash/cluster-containers.test.ts runs the services as processes.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { readSentinelConfig } from '@fame-fabric/sentinel';
import { expect, test } from 'vitest';
import { ROOT } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { readCompose, type Service, textEnv } from './compose-file.ts';
import { writePassword } from './password-service.ts';

const COMPOSE = join(ROOT, 'docker-compose.yml');
const compose = readCompose(COMPOSE);
const services = Object.entries(compose.services);
const cluster = services.filter(([, { profiles }]) => profiles?.includes('cluster'));
const SENTINELS = ['cluster-sentinel-1', 'cluster-sentinel-2'];
const agent = compose.services['cluster-agent']!;

const namesOf = (found: readonly [string, Service][]): string[] => found.map(([name]) => name);

test('has two sentinels, three replicas, NATS and PostgreSQL', () => {
  expect(namesOf(cluster)).toEqual(['postgres-password', 'postgres', 'nats', ...SENTINELS, 'cluster-agent']);
  expect(agent.scale).toBe(3);
  for (const [name, { profiles }] of cluster) expect(profiles, name).toEqual(['cluster']);
});

test('the replicas depend on all other services, and on none outside of the profile', () => {
  const reached = new Set<string>();
  const visit = (name: string): void => {
    reached.add(name);
    for (const next of Object.keys(compose.services[name]!.depends_on ?? {})) visit(next);
  };
  visit('cluster-agent');
  expect([...reached].sort()).toEqual(namesOf(cluster).sort());
});

test('waits for the health of every service, and for the end of the one that writes the password', () => {
  for (const [name, { healthcheck, restart }] of cluster) {
    const isOneShot = name === 'postgres-password';
    expect(restart, name).toBe(isOneShot ? 'no' : 'unless-stopped');
    if (isOneShot) expect(healthcheck).toEqual({ disable: true });
    else expect(healthcheck?.test?.[0], name).toBe('CMD');
    for (const [needed, { condition }] of Object.entries(compose.services[name]!.depends_on ?? {})) {
      expect(condition).toBe(
        needed === 'postgres-password' ? 'service_completed_successfully' : 'service_healthy',
      );
    }
  }
});

test('only sentinels reach NATS, and only replicas reach PostgreSQL', () => {
  expect(compose.networks).toEqual({ nats: { internal: true }, postgres: { internal: true } });
  const on = (network: string) => namesOf(services.filter(([, { networks }]) => networks?.includes(network)));
  expect(on('nats')).toEqual(['nats', ...SENTINELS]);
  expect(on('postgres')).toEqual(['postgres', 'cluster-agent']);
  expect(on('default')).toEqual([...SENTINELS, 'cluster-agent']);
  expect(compose.services['postgres-password']!.network_mode).toBe('none');
  for (const name of ['nats', 'postgres']) expect(compose.services[name]!.ports, name).toBeUndefined();
});

test('keeps conversations, ownership and keys in volumes, and nothing in a replica', () => {
  const mounted = cluster.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]!));
  for (const name of mounted) expect(Object.keys(compose.volumes)).toContain(name);
  expect(compose.services.postgres!.volumes).toEqual([
    'postgres:/var/lib/postgresql/data',
    'postgres-password:/password:ro',
  ]);
  expect(compose.services.nats!.volumes).toEqual(['nats:/data']);
  expect(agent.volumes).toEqual(['cluster-sentinel:/sentinel:ro', 'postgres-password:/store:ro']);
  expect(agent.tmpfs).toEqual(['/tmp', '/data:uid=1000,gid=1000,mode=0700']);
});

test('runs a NATS server of version 2.12.7 or later, with JetStream', () => {
  const { image, command } = compose.services.nats!;
  const [, minor, patch] = /^nats:2\.(\d+)\.(\d+)-/.exec(image!)!;
  expect(Number(minor) * 1_000 + Number(patch)).toBeGreaterThanOrEqual(12_007);
  expect(command).toContain('--jetstream');
});

test('the sentinels are members of one cluster, each under its own names', () => {
  for (const name of SENTINELS) {
    const service = compose.services[name]!;
    expect(readSentinelConfig(textEnv(service))).toMatchObject({
      nodeId: name.replace('cluster-', ''),
      allowedHosts: [name, 'localhost'],
      cluster: { name: 'fame', natsUrls: ['nats://nats:4222'], credentialsFile: undefined },
    });
    expect(service.volumes).toEqual(['cluster-sentinel:/data']);
  }
});

test('the replicas get the URLs of all sentinels, the address of a pool and the store of the file', () => {
  const directory = temporaryDirectory();
  writePassword(compose.services['postgres-password']!, directory);
  const env = textEnv(agent);
  expect(env.FAME_STORE_URL_FILE).toBe('/store/store-url');
  const config = readAgentConfig({
    ...env,
    FAME_STORE_URL_FILE: join(directory, 'store-url'),
    FAME_ADMISSION_TOKEN_FILE: '',
  });
  expect([config.admissionUrl, ...config.otherAdmissionUrls]).toEqual(
    SENTINELS.map((name) => `ws://${name}:8000/fame/v1/attach/ws/downstream`),
  );
  const password = readFileSync(join(directory, 'password'), 'utf8');
  expect(config).toMatchObject({
    chatAddress: 'chat@*.fame.fabric',
    storeUrl: `postgres://fame:${password}@postgres/fame?sslmode=disable`,
  });
  const { POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD_FILE } = compose.services.postgres!.environment!;
  expect([POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD_FILE]).toEqual([
    'fame',
    'fame',
    '/password/password',
  ]);
});

test('the password is random, is written once, and is readable to both users', () => {
  const service = compose.services['postgres-password']!;
  const [first, second] = [temporaryDirectory(), temporaryDirectory()];
  for (const directory of [first, second]) writePassword(service, directory);
  const passwordIn = (directory: string): string => readFileSync(join(directory, 'password'), 'utf8');
  expect(passwordIn(first)).toMatch(/^[0-9a-f]{48}$/);
  expect(passwordIn(second)).not.toBe(passwordIn(first));
  const before = passwordIn(first);
  writePassword(service, first);
  expect(passwordIn(first)).toBe(before);
  expect(readdirSync(first).sort()).toEqual(['password', 'store-url']);
  for (const name of readdirSync(first)) expect(statSync(join(first, name)).mode & 0o777).toBe(0o644);
});

test('settings of the services without a profile do not reach those that the cluster needs otherwise', () => {
  const { services: changed } = readCompose(COMPOSE, {
    FAME_PARENT_URL: 'ws://parent.example.org/fame/v1/attach/ws/downstream',
    FAME_CHAT_ADDRESS: 'other@fame.fabric',
    FAME_CLUSTER: 'other',
    FAME_CLUSTER_NATS: 'nats://other:4222',
    FAME_CLUSTER_NATS_CREDS_FILE: '/data/creds',
    FAME_STORE_URL: 'postgres://other@other/other',
    FAME_AGENTS: 'math',
  });
  for (const name of [...SENTINELS, 'cluster-agent'])
    expect(changed[name], name).toEqual(compose.services[name]);
  expect(changed['chat-agent']!.environment!.FAME_STORE_URL).toBe('postgres://other@other/other');
});

test.each<[string, string, readonly string[]]>([
  ['cluster-sentinel-1', 'sentinel', []],
  ['cluster-sentinel-2', 'sentinel', []],
  // The command names the agent.
  ['cluster-agent', 'chat-agent', ['FAME_AGENTS']],
])('%s gets the variables of %s', (name, other, missing) => {
  const has = Object.keys(compose.services[name]!.environment!);
  for (const variable of Object.keys(compose.services[other]!.environment!)) {
    expect(has.includes(variable), variable).toBe(!missing.includes(variable));
  }
});
