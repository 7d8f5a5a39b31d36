// PgBouncer before a PostgreSQL server of a test: Debian's package, unpacked into `node_modules/.cache` if the machine does not have it.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DebianPackage } from './debian-package.ts';
import { asUser, type PostgresServer } from './postgres.ts';
import { freePort, Proc } from './processes.ts';

const PROGRAM = new DebianPackage('pgbouncer', 'usr/sbin/pgbouncer');
/** Libraries of the program that PostgreSQL does not install, each with its file. */
const LIBRARIES = [
  ['libc-ares2', 'libcares.so.2'],
  ['libevent-2.1-7', 'libevent-2.1.so.7'],
].map(([name, file]) => ({ file: file!, package: new DebianPackage(name!, `usr/lib/*/${file}`) }));
const PACKAGES = [PROGRAM, ...LIBRARIES.map((library) => library.package)];

export function ensurePooler(): void {
  for (const one of PACKAGES) one.ensure();
}

/** True if tests can start a pooler. In CI they always run. */
export const hasPooler = (): boolean => PACKAGES.every(({ isUsable }) => isUsable);

/** Starts a pooler. Resolves to the URL that leads through it to the database `fame`. */
export async function startPooler(server: PostgresServer, mode: 'transaction' | 'session'): Promise<string> {
  const port = await freePort();
  // The user of the server may not read the directory of the cache.
  const directory = join(server.directory, mode);
  mkdirSync(directory, { mode: 0o755 });
  const [program, config] = [join(directory, 'pgbouncer'), join(directory, 'pgbouncer.ini')];
  copyFileSync(PROGRAM.path!, program);
  for (const library of LIBRARIES) copyFileSync(library.package.path!, join(directory, library.file));
  writeFileSync(
    config,
    `[databases]
fame = host=${server.directory} port=${server.port} user=fame
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
`,
    { mode: 0o644 },
  );
  const [command, ...args] = asUser([program, config]);
  const proc = new Proc(command!, args, {
    name: 'pgbouncer',
    cwd: directory,
    env: { LD_LIBRARY_PATH: directory },
  });
  await proc.waitFor(/process up/);
  return `postgres://fame@127.0.0.1:${port}/fame`;
}
