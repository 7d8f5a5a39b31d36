// The services of the profile `cluster` of docker-compose.yml as processes, with their own settings: hosts, ports and paths of the containers
// become those of this machine. nats-server and PostgreSQL are those of Debian. Not tested, since it needs an engine: the two images.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCompose, textEnv } from '../compose/compose-file.ts';
import { writePassword } from '../compose/password-service.ts';
import { runFame } from '../kit/commands.ts';
import { eventually } from '../kit/eventually.ts';
import { NATS_SERVER, type NatsServer, startNats } from '../kit/nats.ts';
import { noPostgres, PostgresServer } from '../kit/postgres.ts';
import { cleanEnv, fameArgs, freePort, type Proc, ROOT, startNode } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';

const { services } = readCompose(join(ROOT, 'docker-compose.yml'));
const SENTINELS = ['cluster-sentinel-1', 'cluster-sentinel-2'] as const;
const REPLICAS = services['cluster-agent']!.scale!;

describe.skipIf(!NATS_SERVER.isUsable || noPostgres() !== undefined)('the profile cluster', () => {
  let database: PostgresServer | undefined;
  let nats: NatsServer;
  const store = temporaryDirectory();
  const keys = temporaryDirectory();
  const ports = new Map<string, number>();
  const replicas: { proc: Proc; env: Record<string, string> }[] = [];

  /** Replaces hosts and paths of the containers. */
  const here = (value: string): string => {
    let text = value
      .replace('nats://nats:4222', nats.url)
      .replace(/^\/store\//, `${store}/`)
      .replace(/^\/sentinel\//, `${keys}/`);
    for (const [name, port] of ports) text = text.replace(`//${name}:8000`, `//127.0.0.1:${port}`);
    return text;
  };

  const environment = (name: string, own: Record<string, string>): Record<string, string> => {
    const env = Object.entries(textEnv(services[name]!)).map(([variable, value]) => [variable, here(value)]);
    return { ...Object.fromEntries(env), ...own };
  };

  const isHealthy = async (name: string, env: Record<string, string>): Promise<boolean> => {
    expect(services[name]!.healthcheck).toMatchObject({ test: ['CMD', '/app/healthy'] });
    return promisify(execFile)(join(ROOT, 'bin/healthy'), { env: cleanEnv(env) }).then(
      () => true,
      () => false,
    );
  };

  const urlOf = (name: string): string => `ws://127.0.0.1:${ports.get(name)}/fame/v1/attach/ws/downstream`;

  const run = (name: string, args: string[], input?: string) =>
    runFame({ url: urlOf(name), env: { FAME_DATA_DIR: keys } }, args, input);

  beforeAll(async () => {
    [nats, database] = await Promise.all([startNats({ hasJetStream: true }), PostgresServer.start()]);
    writePassword(services['postgres-password']!, store);
    database.sql(`ALTER USER fame PASSWORD '${readFileSync(join(store, 'password'), 'utf8')}'`);
    const url = readFileSync(join(store, 'store-url'), 'utf8');
    writeFileSync(join(store, 'store-url'), url.replace('@postgres/', `@127.0.0.1:${database.port}/`));
    for (const name of SENTINELS) ports.set(name, await freePort());
    for (const name of SENTINELS) {
      const env = environment(name, {
        FAME_DATA_DIR: keys,
        FAME_LISTENER_HOST: '127.0.0.1',
        FAME_LISTENER_PORT: String(ports.get(name)),
      });
      await startNode(fameArgs(...services[name]!.command!), { name, env }).waitFor(/listens on/);
      await eventually(async () => expect(await isHealthy(name, env)).toBe(true));
    }
    for (let n = 0; n < REPLICAS; n++) {
      const directory = temporaryDirectory();
      const env = environment('cluster-agent', {
        FAME_DATA_DIR: directory,
        FAME_HEALTH_FILE: join(directory, 'healthy'),
        // A container of replicas has a loopback interface of its own, on which nothing listens.
        FAME_LISTENER_PORT: '1',
      });
      const command = services['cluster-agent']!.command!;
      replicas.push({ proc: startNode(fameArgs(...command), { name: `replica ${n + 1}`, env }), env });
    }
    await Promise.all(replicas.map(({ proc }) => proc.waitFor(/ is served through /)));
  });
  afterAll(async () => {
    await Promise.all(replicas.map(({ proc }) => proc.stop()));
    await database?.close();
  });

  test('its replicas are healthy, and both sentinels list them', async () => {
    for (const { env } of replicas) expect(await isHealthy('cluster-agent', env)).toBe(true);
    for (const name of SENTINELS) {
      const { code, stdout } = await run(name, ['ps']);
      expect(code).toBe(0);
      expect(stdout.match(/chat@\*\.fame\.fabric/g)).toHaveLength(REPLICAS);
    }
  });

  test('a client talks through either sentinel, also after the loss of a replica', async () => {
    const ask = async (name: string): Promise<void> => {
      const { code, stdout, output } = await run(name, ['chat'], 'What is 17 * 3?\n');
      expect(code, output).toBe(0);
      expect(stdout).toContain('51');
    };
    await ask('cluster-sentinel-1');
    await replicas[0]!.proc.kill();
    await ask('cluster-sentinel-2');
  });

  test('a command in the container of a replica lists the conversations of all replicas', async () => {
    const { env } = replicas.at(-1)!;
    const list = startNode(fameArgs('conversations', 'ls'), { name: 'conversations ls', env });
    expect((await list.exited).code).toBe(0);
    expect(list.output.match(/chat@fame\.fabric/g)).toHaveLength(2);
  });
});
