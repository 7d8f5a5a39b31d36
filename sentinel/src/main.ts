// The sentinel as a process: configuration, start, signals, exit code.
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { isFabricError, type Logger } from '@fame-fabric/shared';
import { makeDirectory } from '@fame-fabric/shared/data-dir';
import { readSentinelConfig, type SentinelConfig } from './config.ts';
import { type RunningSentinel, startSentinel } from './sentinel.ts';

const LOAD_LOG_AFTER_MS = 500;
const EXIT = { ok: 0, failure: 1, usage: 2, unreachable: 69 };

export interface ProcessOptions {
  /** @default process.env */
  env?: Readonly<Record<string, string | undefined>>;
  /** Runs beside the sentinel, from the moment nodes may attach; its end ends the sentinel, in place of the signals. */
  beside?: (sentinel: RunningSentinel) => Promise<unknown>;
}

// The young generation of a router is so small each time that waking V8's helper threads for it, and waiting for them on busy
// cores, costs more than they save: a tenth of what it takes to attach a node.
setFlagsFromString('--no-parallel-scavenge');

/** Runs a sentinel until a signal ends it; resolves to the exit code. Settings come from the environment. */
export async function runSentinelProcess({ env, beside }: ProcessOptions = {}): Promise<number> {
  let config: SentinelConfig;
  try {
    config = readSentinelConfig(env ?? process.env);
  } catch (error) {
    if (!isFabricError(error, 'CONFIG_INVALID')) throw error;
    process.stderr.write(`${error.message}\n`);
    return EXIT.usage;
  }
  const { log, load } = lazyLog(config);
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  try {
    const sentinel = await startSentinel({ ...config, nodeId: config.nodeId ?? storedId(config, log), log });
    process.stderr.write(
      `The sentinel listens on ${sentinel.url} (id ${sentinel.id}, http://${config.host}:${sentinel.port}/healthz)\n`,
    );
    setTimeout(load, LOAD_LOG_AFTER_MS).unref();
    const drain = (): void => {
      sentinel.drain().then(
        () => end(EXIT.ok),
        (error: unknown) => {
          log.error('the drain failed', { error });
          end(EXIT.failure);
        },
      );
    };
    if (beside) {
      beside(sentinel).then(drain, drain); // who handed it in knows how it ended
      return ended;
    }
    let signals = 0;
    const stop = (signal: NodeJS.Signals): void => {
      if (++signals > 1) process.exit(signal === 'SIGINT' ? 130 : 143);
      process.stderr.write('The sentinel drains; a second signal ends it at once\n');
      drain();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    process.stderr.write(`${error.message}\n`);
    return error.code === 'LINK_TIMEOUT' ? EXIT.unreachable : EXIT.failure;
  }
  return ended;
}

// The id is kept, so that paths stay true over a restart and nodes come back to where they were.
function storedId({ dataDir, port }: SentinelConfig, log: Logger): string | undefined {
  const file = join(dataDir, `sentinel-${port}.id`);
  try {
    const id = readFileSync(file, 'utf8').trim();
    if (/^[A-Za-z0-9]{8,64}$/.test(id)) return id;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      log.warn('the stored id cannot be read', { file, error });
    }
  }
  const id = randomBytes(8).toString('hex');
  try {
    makeDirectory(dataDir);
    writeFileSync(file, `${id}\n`, { mode: 0o600 });
  } catch (error) {
    log.warn('the id of this sentinel cannot be kept; it will be another after a restart', { file, error });
  }
  return id;
}

// pino is loaded after the port is open: with the first line that is logged, or a moment later, since the first line may
// come in the middle of the work and loading stops the router for 60 ms.
function lazyLog(config: SentinelConfig): { log: Logger; load: () => void } {
  let loading: Promise<Logger> | undefined;
  const load = (): Promise<Logger> => {
    loading ??= import('@fame-fabric/shared/node').then(({ createLog }) =>
      createLog('sentinel', config.logLevel),
    );
    return loading;
  };
  const line =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, fields?: Record<string, unknown>): void => {
      void load().then((log) => log[level](message, fields));
    };
  const isDebug = config.logLevel === 'trace' || config.logLevel === 'debug';
  const log: Logger = {
    debug: isDebug ? line('debug') : () => {},
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    with: () => log,
  };
  return { log, load: () => void load() };
}
