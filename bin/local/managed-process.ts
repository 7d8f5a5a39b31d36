// One background process that `fame local start` began: its pid file, its log, whether it still lives, how it is ended.
// A pid file counts only while its process is the very one that was started; nobody else's process is ever signalled.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { dataDirFault, makeDirectory } from '@fame-fabric/shared/data-dir';
import type { Environment } from '../verb.ts';
import { processIdentity } from './process-identity.ts';

/** What a pid file holds. */
export interface PartRecord {
  name: string;
  pid: number;
  identity: string;
  port: number;
  /** Milliseconds since the epoch. */
  startedAt: number;
}

const LOG_ROTATE_BYTES = 10_485_760;
const POLL_MS = 50;

export class Part {
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

  /** Its record while it lives; a stale pid file counts as none. */
  running(): PartRecord | undefined {
    const record = this.recorded();
    return record && processIdentity(record.pid) === record.identity ? record : undefined;
  }

  /** What the pid file says, whether or not the process lives. @throws {CONFIG_INVALID} when it cannot be read */
  recorded(): PartRecord | undefined {
    const text = this.#read(this.#pidFile);
    if (text === undefined) return undefined;
    try {
      const record = JSON.parse(text) as PartRecord;
      return Number.isSafeInteger(record.pid) && record.pid > 1 && record.identity ? record : undefined;
    } catch {
      return undefined; // written halfway by a machine that lost power: as good as none
    }
  }

  /** Starts `fame <verb>` in the background, its output in the log. */
  start(args: readonly string[], env: Environment, port: number): PartRecord {
    makeDirectory(dirname(this.logFile));
    makeDirectory(dirname(this.#pidFile));
    this.#rotateLog();
    const log = openSync(this.logFile, 'a', 0o600);
    const fame = [...process.execArgv, process.argv[1]!, ...args];
    const child = spawn(process.execPath, fame, { detached: true, stdio: ['ignore', log, log], env });
    closeSync(log);
    child.unref();
    const identity = child.pid === undefined ? undefined : processIdentity(child.pid);
    if (child.pid === undefined || identity === undefined) {
      throw new Error(`The ${this.name} could not be started; ${this.logFile} may say why`);
    }
    const record = { name: this.name, pid: child.pid, identity, port, startedAt: Date.now() };
    writeFileSync(this.#pidFile, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    return record;
  }

  /** Asks it to end (SIGTERM, which drains), insists after `patienceMs`. `false` when it did not run. */
  async stop(patienceMs: number): Promise<boolean> {
    const record = this.running();
    if (record) {
      await this.#end(record, patienceMs);
    }
    if (this.recorded()) rmSync(this.#pidFile, { force: true });
    return record !== undefined;
  }

  async #end(record: PartRecord, patienceMs: number): Promise<void> {
    const deadline = Date.now() + patienceMs;
    signal(record, 'SIGTERM');
    while (processIdentity(record.pid) === record.identity) {
      if (Date.now() > deadline) signal(record, 'SIGKILL');
      await pause(POLL_MS);
    }
  }

  #rotateLog(): void {
    try {
      if (statSync(this.logFile).size > LOG_ROTATE_BYTES) renameSync(this.logFile, `${this.logFile}.1`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }

  /** The last lines of its log. @throws {CONFIG_INVALID} when it cannot be read */
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

function signal({ pid, identity }: PartRecord, name: NodeJS.Signals): void {
  if (processIdentity(pid) !== identity) return;
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // gone between the two lines
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
