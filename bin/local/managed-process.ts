// A background process of `fame local start`, with a pid file and a log. The pid file is valid only while its pid belongs to
// the process that was started, so no other process is ever signalled.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '@fame-fabric/shared';
import { type Environment, pause } from '@fame-fabric/shared/internal';
import { dataDirFault, makeDirectory } from '@fame-fabric/shared/node';
import { processIdentity } from './process-identity.ts';
import type { SettingsDigest } from './settings-digest.ts';

/** Content of a pid file. */
export interface ProcessRecord {
  name: string;
  pid: number;
  identity: string;
  port: number;
  /** ms since the epoch. */
  startedAt: number;
  /** Settings that the process was started with. Absent in records of older versions. */
  settings?: SettingsDigest | undefined;
  /** Addresses that the process serves. Absent in records of older versions, and of a sentinel. */
  addresses?: readonly string[] | undefined;
}

export interface StartOptions extends Pick<ProcessRecord, 'port' | 'settings' | 'addresses'> {
  env: Environment;
}

/** Number of logs of earlier starts that are kept, as `NAME.log.1` (the latest) and so on. */
const OLD_LOGS = 4;
const POLL_MS = 50;

export class ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly #dataDir: string;
  readonly #pidFile: string;

  constructor(name: string, dataDir: string) {
    this.name = name;
    this.#dataDir = dataDir;
    this.logFile = join(dataDir, 'logs', `${name}.log`);
    this.#pidFile = join(dataDir, 'run', `${name}.json`);
  }

  /** The record of the running process. Ignores a stale pid file. */
  running(): ProcessRecord | undefined {
    const record = this.recorded();
    return record && processIdentity(record.pid) === record.identity ? record : undefined;
  }

  /** The content of the pid file, even if the process no longer runs. @throws {CONFIG_INVALID} if the file cannot be read */
  recorded(): ProcessRecord | undefined {
    const text = this.#read(this.#pidFile);
    if (text === undefined) return undefined;
    try {
      const record = JSON.parse(text) as ProcessRecord;
      return Number.isSafeInteger(record.pid) && record.pid > 1 && record.identity ? record : undefined;
    } catch {
      return undefined; // incomplete, because the machine lost power during the write
    }
  }

  /** Starts `fame ARGS` in the background. Its output goes to a new log, so that the log contains only this start. */
  start(args: readonly string[], { env, ...more }: StartOptions): ProcessRecord {
    makeDirectory(dirname(this.logFile));
    makeDirectory(dirname(this.#pidFile));
    this.#rotateLogs();
    const log = openSync(this.logFile, 'a', 0o600);
    const fame = [...process.execArgv, process.argv[1]!, ...args];
    const child = spawn(process.execPath, fame, { detached: true, stdio: ['ignore', log, log], env });
    closeSync(log);
    child.unref();
    const identity = child.pid === undefined ? undefined : processIdentity(child.pid);
    if (child.pid === undefined || identity === undefined) {
      throw new Error(`The ${this.name} did not start; see ${this.logFile}`);
    }
    const record = { name: this.name, pid: child.pid, identity, startedAt: systemClock.now(), ...more };
    writeFileSync(this.#pidFile, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    return record;
  }

  /** Sends SIGTERM, which drains, and SIGKILL after `graceMs`. Returns false if the process did not run. */
  async stop(graceMs: number): Promise<boolean> {
    const record = this.running();
    if (record) await terminate(record, graceMs);
    if (this.recorded()) rmSync(this.#pidFile, { force: true });
    return record !== undefined;
  }

  #rotateLogs(): void {
    for (let age = OLD_LOGS; age > 0; age--) {
      const newer = age === 1 ? this.logFile : `${this.logFile}.${age - 1}`;
      if (existsSync(newer)) renameSync(newer, `${this.logFile}.${age}`);
    }
  }

  /** Returns the last lines of the log. @throws {CONFIG_INVALID} if the file cannot be read */
  logTail(lines: number): string {
    return (this.#read(this.logFile) ?? '').trimEnd().split('\n').slice(-lines).join('\n');
  }

  #read(file: string): string | undefined {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw dataDirFault(this.#dataDir, error);
    }
  }
}

async function terminate(record: ProcessRecord, graceMs: number): Promise<void> {
  const deadline = systemClock.monotonic() + graceMs;
  signal(record, 'SIGTERM');
  while (processIdentity(record.pid) === record.identity) {
    if (systemClock.monotonic() > deadline) signal(record, 'SIGKILL');
    await pause(systemClock, POLL_MS);
  }
}

function signal({ pid, identity }: ProcessRecord, name: NodeJS.Signals): void {
  if (processIdentity(pid) !== identity) return;
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it ended after the check
  }
}
