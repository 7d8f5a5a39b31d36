// The sentinel as a process: configuration, start, signals, exit code.
import { setFlagsFromString } from 'node:v8';
import type { Logger } from '@fame-fabric/shared';
import {
  type Environment,
  EXIT,
  escapeControls,
  exitCodeOf,
  isJsonLog,
  lifeLine,
  naylenceWarnings,
} from '@fame-fabric/shared/internal';
import { type Doors, isFabricError, isTracingRequested, openFileLimit } from '@fame-fabric/shared/router';
import type { RunningTracing } from '@fame-fabric/shared/telemetry';
import { readSentinelConfig, type SentinelConfig } from './config.ts';
import { storedNodeId } from './identity.ts';
import { type RunningSentinel, startSentinel } from './sentinel.ts';

const LOAD_LOG_AFTER_MS = 500;

export interface ProcessOptions {
  /** @default process.env */
  env?: Environment | undefined;
  /** Lines for the operator, written as warnings at the start. @default none */
  warnings?: readonly string[] | undefined;
  /** Doors on the port of the sentinel. @default none */
  doors?: Doors | undefined;
  /** Runs in the same process once nodes may attach, and handles the signals. The sentinel drains when it settles. */
  companion?: ((sentinel: RunningSentinel) => Promise<unknown>) | undefined;
}

/** Runs a sentinel until a signal ends it; resolves to the exit code. The environment configures it. */
export async function runSentinelProcess({
  env = process.env,
  warnings: given = [],
  doors,
  companion,
}: ProcessOptions = {}): Promise<number> {
  const warnings = [...given, ...naylenceWarnings(env)];
  // The young generation of a router is small. Waking V8's helper threads for it, and waiting for them on busy cores, costs
  // more than it saves: a tenth of the time to attach a node.
  setFlagsFromString('--no-parallel-scavenge');
  let config: SentinelConfig;
  try {
    config = readSentinelConfig(env);
  } catch (error) {
    if (!isFabricError(error, 'CONFIG_INVALID')) throw error;
    process.stderr.write(`${escapeControls([...warnings, error.message].join('\n'))}\n`);
    return EXIT.usage;
  }
  const { log, load } = lazyLog(config);
  let telemetry: RunningTracing | undefined;
  const openFiles = openFileLimit();
  const asJson = isJsonLog(config.logFormat, process.stderr.isTTY);
  const writeLife = (text: string, level?: 'warn' | 'error'): void => {
    process.stderr.write(lifeLine('sentinel', text, asJson, level));
  };
  for (const warning of warnings) writeLife(warning, 'warn');
  const { promise: ended, resolve: end } = Promise.withResolvers<number>();
  try {
    if (isTracingRequested(env)) {
      const { startTracing } = await import('@fame-fabric/shared/telemetry');
      telemetry = await startTracing(env, { service: 'fame-sentinel', log });
    }
    const sentinel = await startSentinel({
      ...config,
      maxSessions: sessionsWithin(openFiles, config),
      nodeId: config.nodeId ?? storedNodeId(config, log),
      doors,
      log,
    });
    const health = new URL('/healthz', sentinel.url.replace('ws', 'http'));
    writeLife(`The sentinel listens on ${sentinel.url} (id ${sentinel.id}, ${health})`);
    if (doors?.text !== undefined) writeLife(`Clients of other protocols: ${health.origin}, ${doors.text}`);
    if (doors?.names?.includes('console')) {
      writeLife(
        `The console is at ${health.origin}/console/. \`npx fame-fabric console\` prints a link that signs in`,
      );
    }
    writeLife(sentinel.accessSummary);
    setTimeout(load, LOAD_LOG_AFTER_MS).unref();
    if (openFiles < config.maxSessions) warnOfOpenFiles(log, openFiles, config);
    if (!companion) keepYoungGenerationSmall();
    const drain = (): void => {
      sentinel
        .drain()
        .finally(() => telemetry?.stop())
        .then(
          () => {
            // With a companion, the terminal belongs to that.
            if (!companion) writeLife('The sentinel stopped');
            end(EXIT.ok);
          },
          (error: unknown) => {
            log.error('the drain failed', { error });
            end(EXIT.failure);
          },
        );
    };
    if (companion) {
      // The caller handles its outcome, also a rejection.
      companion(sentinel).then(drain, drain);
      return ended;
    }
    let signals = 0;
    const stop = (signal: NodeJS.Signals): void => {
      if (++signals > 1) process.exit(signal === 'SIGINT' ? 130 : 143);
      writeLife('The sentinel is draining; a second signal ends it at once');
      drain();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    // A closed terminal sends the same signal, and must end its sentinel.
    if (!process.stderr.isTTY) process.on('SIGHUP', () => sentinel.reload());
  } catch (error) {
    await telemetry?.stop();
    if (!isFabricError(error)) throw error;
    // Faults of the configuration are text: people read them, and the line breaks separate them.
    if (error.code === 'CONFIG_INVALID') process.stderr.write(`${escapeControls(error.message)}\n`);
    else writeLife(error.message, 'error');
    return exitCodeOf(error);
  }
  return ended;
}

/** Descriptors for everything but sessions: files, connections that are not attached yet, HTTP requests. */
const RESERVED_DESCRIPTORS = 32;

// Without a free descriptor, Node accepts connections and closes them at once, and reports no error. A session limit below the
// limit of open files refuses nodes with a code instead.
const sessionsWithin = (openFiles: number, { maxSessions }: SentinelConfig): number =>
  Math.max(1, Math.min(maxSessions, openFiles - RESERVED_DESCRIPTORS));

function warnOfOpenFiles(log: Logger, openFiles: number, config: SentinelConfig): void {
  const { maxSessions } = config;
  log.warn('the limit of open files allows fewer sessions than FAME_MAX_SESSIONS; raise it (ulimit -n)', {
    openFiles,
    maxSessions,
    sessions: sessionsWithin(openFiles, config),
  });
}

// Keeps the young generation at the size that it reached during the start, some 4 MB. V8 would let it grow to 32 MB with the
// sessions of attached nodes: that is 5 KB a node at 5,000 nodes, and pauses of 50 ms. Messages are short-lived, so a larger one
// saves no time.
function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

// Loads pino after the port is open: at the first line, or half a second later if there is none. Loading blocks the router
// for 60 ms, and the first line may come while it is busy.
function lazyLog(config: SentinelConfig): { log: Logger; load: () => void } {
  let loading: Promise<Logger> | undefined;
  const load = (): Promise<Logger> => {
    loading ??= import('@fame-fabric/shared/node').then(({ createLog }) =>
      createLog('sentinel', config.logLevel, undefined, config.logFormat),
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
