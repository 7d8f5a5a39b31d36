// A PostgreSQL server for tests: the one of Debian's package, in a directory of its own, with durable commits. It runs as an
// unprivileged user, because PostgreSQL refuses to run as root, and ends with the test that started it.
import { execFile, execFileSync } from 'node:child_process';
import { chownSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, Proc } from './processes.ts';

const PASSWORD = 'pass/word';
const READY = /database system is ready to accept (read-only )?connections/;
/** Name of a standby in the settings of its primary. */
const STANDBY = 'standby';

/** Directory of the programs of the newest installed version; undefined if there is none. */
const programs = (): string | undefined => {
  const found = globSync('/usr/lib/postgresql/*/bin/postgres').sort((a, b) => versionOf(a) - versionOf(b));
  return found.length > 0 ? dirname(found.at(-1)!) : undefined;
};
const versionOf = (path: string): number => Number(path.split('/')[4]);

/** Reason for which tests without PostgreSQL are skipped; undefined if they run. In CI they always run, and fail without it. */
export const noPostgres = (): string | undefined =>
  programs() === undefined && !process.env.CI
    ? 'PostgreSQL is not installed: apt-get install postgresql'
    : undefined;

export class PostgresServer {
  readonly directory: string;
  readonly port: number;
  readonly #bin: string;
  #proc: Proc | undefined;

  /** Creates a database cluster and starts its server on a free port and on a socket in its directory. */
  static async start(): Promise<PostgresServer> {
    const bin = programs();
    if (bin === undefined) throw new Error('PostgreSQL is not installed: apt-get install postgresql');
    const server = new PostgresServer(bin, await freePort());
    try {
      server.#create();
      await server.resume();
      return server;
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /**
   * Copies this server and starts the copy as its standby, which receives every commit over `port`.
   * @param port that of this server or of a proxy before it
   */
  async startStandby(port = this.port): Promise<PostgresServer> {
    const standby = new PostgresServer(this.#bin, await freePort());
    const source = `host=127.0.0.1 port=${port} user=fame password=${PASSWORD} application_name=${STANDBY}`;
    const backup = [
      this.#program('pg_basebackup'),
      '-D',
      standby.#data,
      '-d',
      source,
      '-R',
      '-c',
      'fast',
      '-N',
    ];
    try {
      const [command, ...args] = asUser(backup);
      // The proxy runs in this process.
      await promisify(execFile)(command!, args, { cwd: standby.directory });
      await standby.resume({ wal_retrieve_retry_interval: '100ms' });
      return standby;
    } catch (error) {
      await standby.close();
      throw error;
    }
  }

  /** Makes commits wait for the standby, which must be connected. */
  waitForStandby(): void {
    this.sql(`ALTER SYSTEM SET synchronous_standby_names = '${STANDBY}'`);
    this.sql('SELECT pg_reload_conf()');
  }

  /** Makes a standby the primary. */
  promote(): void {
    this.sql('SELECT pg_promote()');
  }

  private constructor(bin: string, port: number) {
    this.#bin = bin;
    this.port = port;
    this.directory = mkdtempSync(join(tmpdir(), 'fame-pg-'));
    const user = unprivileged();
    if (user) chownSync(this.directory, user.uid, user.gid);
  }

  /** URL over the socket. The user is the superuser of the server. */
  get url(): string {
    return `postgres://fame@/fame?host=${encodeURIComponent(this.directory)}&port=${this.port}`;
  }

  /** URL over TCP, with a password. `ports` are those of this server, of a proxy, or of several servers. */
  tcpUrl(...ports: number[]): string {
    const hosts = (ports.length === 0 ? [this.port] : ports).map((port) => `127.0.0.1:${port}`);
    return `postgres://fame:${encodeURIComponent(PASSWORD)}@${hosts.join()}/fame`;
  }

  get password(): string {
    return PASSWORD;
  }

  get pid(): number {
    return this.#proc!.pid;
  }

  /** Starts the server again, on the same port. Settings are added to those of the tests. */
  async resume(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const all = {
      listen_addresses: '127.0.0.1',
      unix_socket_directories: this.directory,
      fsync: 'on',
      shared_buffers: '32MB',
      max_connections: '200',
      ...settings,
    };
    const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const [command, ...rest] = asUser([
      this.#program('postgres'),
      '-D',
      this.#data,
      '-p',
      String(this.port),
      ...args,
    ]);
    this.#proc = new Proc(command!, rest, { name: 'postgres', cwd: this.directory });
    await this.#proc.waitFor(READY);
  }

  /** Ends the server at once, without writing its state: it recovers at the next start. */
  async stopNow(): Promise<void> {
    await this.#proc?.stop('SIGQUIT');
  }

  /** Ends a server that does not react to signals, with all of its processes. */
  async kill(): Promise<void> {
    for (const pid of childrenOf(this.pid)) process.kill(pid, 'SIGKILL');
    await this.#proc?.kill();
  }

  /** Stops the answers of the server with SIGSTOP, until SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    for (const pid of [this.pid, ...childrenOf(this.pid)]) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        // A session may have ended meanwhile.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
  }

  /** Runs statements as the superuser. Returns the lines that psql prints, without headers. */
  sql(text: string, database = 'fame'): string[] {
    const args = ['-h', this.directory, '-p', String(this.port), '-U', 'fame', '-d', database];
    const output = execFileSync(this.#program('psql'), [...args, '-v', 'ON_ERROR_STOP=1', '-qAtc', text], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return output.split('\n').filter((line) => line !== '');
  }

  /** Ends the server and removes its directory. */
  async close(): Promise<void> {
    await this.stopNow();
    rmSync(this.directory, { recursive: true, force: true });
  }

  get #data(): string {
    return join(this.directory, 'data');
  }

  #program(name: string): string {
    return join(this.#bin, name);
  }

  #create(): void {
    const passwordFile = join(this.directory, 'password');
    writeFileSync(passwordFile, PASSWORD, { mode: 0o644 });
    const [command, ...args] = asUser([
      this.#program('initdb'),
      ...['-D', this.#data, '-U', 'fame', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync', '--no-instructions'],
      ...['--auth-local=trust', '--auth-host=scram-sha-256', `--pwfile=${passwordFile}`],
    ]);
    execFileSync(command!, args, { cwd: this.directory, stdio: ['ignore', 'ignore', 'pipe'] });
    rmSync(passwordFile);
    const single = asUser([this.#program('postgres'), '--single', '-D', this.#data, 'postgres']);
    execFileSync(single[0]!, single.slice(1), {
      cwd: this.directory,
      input: 'CREATE DATABASE fame;\n',
      stdio: ['pipe', 'ignore', 'pipe'],
    });
  }
}

/** User that runs the server; undefined for that of this process. */
function unprivileged(): { name: string; uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const [, , uid, gid] = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith('nobody:'))!
    .split(':');
  return { name: 'nobody', uid: Number(uid), gid: Number(gid) };
}

/** The command that runs another one as the user of the server. */
export function asUser(command: readonly string[]): string[] {
  const user = unprivileged();
  if (!user) return [...command];
  return ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups', ...command];
}

function childrenOf(pid: number): number[] {
  const path = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);
}
