// nats-server as a process on a free port: the one of the Debian package, or the one that FAME_TEST_NATS_SERVER names.
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DebianPackage } from './debian-package.ts';
import { freePort, Proc } from './processes.ts';
import { temporaryDirectory } from './sentinel.ts';

export const NATS_SERVER = new DebianPackage('nats-server', 'usr/sbin/nats-server', 'FAME_TEST_NATS_SERVER');

export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Ends the process at once. */
  kill(): Promise<void>;
  /** Pauses the process, or resumes it. */
  freeze(isFrozen: boolean): void;
  /** Starts the server again on its port, with its stored data. */
  start(): Promise<void>;
  /** Removes the data of JetStream. */
  wipe(): void;
  /** Number of messages that JetStream stores. */
  storedMessages(): Promise<number>;
}

/** The environment of a sentinel with this id in a cluster on this server. */
export const clusterEnv = ({ url }: NatsServer, id: string): Record<string, string> => ({
  FAME_NODE_ID: id,
  FAME_CLUSTER: 'test',
  FAME_CLUSTER_NATS: url,
  FAME_RESUME_WINDOW_MS: '300',
});

export interface NatsServerOptions {
  /** Starts JetStream. @default false */
  readonly hasJetStream?: boolean;
}

/** Starts a server and waits until it listens. */
export async function startNats({ hasJetStream = false }: NatsServerOptions = {}): Promise<NatsServer> {
  const program = NATS_SERVER.path;
  if (program === undefined) throw new Error('nats-server is not installed: apt-get install nats-server');
  const port = await freePort();
  const monitorPort = await freePort();
  const store = join(temporaryDirectory(), 'jetstream');
  const args = ['--addr', '127.0.0.1', '--port', String(port), '--http_port', String(monitorPort)];
  if (hasJetStream) args.push('--jetstream', '--store_dir', store);
  let proc: Proc;
  const start = async (): Promise<void> => {
    proc = new Proc(program, args, { name: 'nats-server' });
    await proc.waitFor(/Server is ready/);
  };
  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    get pid() {
      return proc.pid;
    },
    kill: async () => void (await proc.kill()),
    freeze: (isFrozen) => void proc.child.kill(isFrozen ? 'SIGSTOP' : 'SIGCONT'),
    start,
    wipe() {
      if (existsSync(store)) rmSync(store, { recursive: true });
    },
    async storedMessages() {
      const answer = await fetch(`http://127.0.0.1:${monitorPort}/jsz`);
      return ((await answer.json()) as { messages: number }).messages;
    },
  };
}
