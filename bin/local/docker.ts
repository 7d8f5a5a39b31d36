// `make start` through docker compose. It needs a running Docker engine, not only a `docker` command.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@fame-fabric/shared/node';

const PROBE_TIMEOUT_MS = 5_000;

/** Returns the reason why docker compose cannot be used here, or `undefined` if it can. */
export function dockerFault(): string | undefined {
  if (!existsSync('docker-compose.yml')) return 'there is no docker-compose.yml in this directory';
  const engine = spawnSync('docker', ['info'], { stdio: 'ignore', timeout: PROBE_TIMEOUT_MS });
  if (engine.error)
    return `the docker command does not run (${(engine.error as NodeJS.ErrnoException).code})`;
  if (engine.status !== 0) return 'no Docker engine answers (`docker info` fails)';
  const compose = spawnSync('docker', ['compose', 'version'], { stdio: 'ignore', timeout: PROBE_TIMEOUT_MS });
  return compose.status === 0
    ? undefined
    : 'the docker command has no compose plugin (`docker compose version` fails)';
}

/** A marker file: `start` used docker, so `stop`, `status` and `logs` must use it as well. */
export class DockerMark {
  readonly #file: string;

  constructor(dataDir: string) {
    this.#file = join(dataDir, 'run', 'docker');
  }

  get isSet(): boolean {
    return existsSync(this.#file);
  }

  set(): void {
    makeDirectory(dirname(this.#file));
    writeFileSync(this.#file, 'docker compose\n');
  }

  clear(): void {
    rmSync(this.#file, { force: true });
  }
}

/** Runs `docker compose ...` with the output of this process. Returns its exit code. */
export function compose(...args: string[]): number {
  const run = spawnSync('docker', ['compose', ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (run.error) throw run.error;
  return run.status ?? 1;
}
