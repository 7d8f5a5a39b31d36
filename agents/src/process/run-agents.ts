// Runs agents as a process: configuration, link, signals, exit code. Used by `fame agent` and by programs of users.
import { channel } from 'node:diagnostics_channel';
import {
  FabricError,
  isFabricError,
  Link,
  type LinkOptions,
  type Logger,
  systemClock,
} from '@fame-fabric/shared';
import {
  type Environment,
  EXIT,
  escapeControls,
  exitCodeOf,
  isJsonLog,
  leastTrustedUrl,
  lifeLine,
  naylenceWarnings,
  onAbort,
  redactUrl,
  shownHeader,
} from '@fame-fabric/shared/internal';
import { SERVING_BACKOFF_MAX_MS } from '@fame-fabric/shared/link';
import { AdmissionToken, createLog, openLinkSignatures, sidOf, wsDialWith } from '@fame-fabric/shared/node';
import type { Agent } from '../agent/agent-types.ts';
import { readMasterKeys, StateKeys } from '../agent/state/state-keys.ts';
import { AgentWorker } from '../agent/worker.ts';
import { allObservers } from '../telemetry/turn-observers.ts';
import { type AgentConfig, readAgentConfig } from './config.ts';
import { HealthFile } from './health-file.ts';
import type { MetricsServer } from './metrics-server.ts';
import { ProcessStore } from './process-store.ts';
import { SessionFile } from './session-file.ts';
import { startTelemetry } from './telemetry.ts';

/** Configuration and log for creating an agent. */
export interface ProcessContext {
  readonly config: AgentConfig;
  readonly log: Logger;
  /** The environment, for the variables that configuration files name. */
  readonly env: Environment;
}

/** An agent with details for its start line, such as the model. */
export interface NamedAgent {
  readonly agent: Agent;
  readonly note?: string | undefined;
  /** Closes resources that were opened for the agent; called after it stopped. */
  close?(): Promise<void>;
}

export type AgentSource = Agent | ((context: ProcessContext) => NamedAgent | Promise<NamedAgent>);

export interface RunOptions {
  /** @default process.env */
  env?: Environment | undefined;
  /** Writes a line for the operator. @default stderr */
  write?: (line: string) => void;
}

/** Reports the start and the served agents within this process, for `fame dev`. */
const reports = channel('fame-fabric.agents');

/** A subscriber sets `isRestart` if an earlier process has printed the warnings about the environment. */
interface StartReport {
  readonly state: 'started';
  readonly agents: readonly Agent[];
  isRestart: boolean;
}

/** Writes one line to stderr. Escapes control characters, because other nodes may have sent the text. */
export const writeStderr = (line: string): void => void process.stderr.write(`${escapeControls(line)}\n`);

/**
 * Serves agents until SIGTERM or SIGINT, then drains for FAME_DRAIN_MS. A second signal ends the process at once. Agents with
 * conversations that were given no `store` share the one in FAME_DATA_DIR. Resolves to the exit code: 0 after a signal, 1 for a
 * failure, 2 for a faulty configuration, 69 if no sentinel was reachable.
 */
export async function runAgents(sources: readonly AgentSource[], options: RunOptions = {}): Promise<number> {
  // Faults of the configuration are always text: people read them, and the line breaks separate them.
  let writeFault = options.write ?? writeStderr;
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(signal === 'SIGINT' ? EXIT.interrupted : EXIT.terminated);
    stop.abort(new FabricError('CALL_CANCELLED', `The process received ${signal}`));
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  const started: StartReport = { state: 'started', agents: [], isRestart: false };
  reports.publish(started);
  try {
    const env = options.env ?? process.env;
    const config = readAgentConfig(env);
    const writeLife = options.write ?? lifeWriter(config);
    writeFault = options.write ?? lifeWriter(config, 'error');
    if (!started.isRestart) for (const line of naylenceWarnings(env)) writeLife(line);
    return await run(sources, { config, env }, stop.signal, writeLife);
  } catch (error) {
    if (stop.signal.aborted) return EXIT.ok;
    if (!isFabricError(error)) throw error;
    if (error.code === 'CONFIG_INVALID') (options.write ?? writeStderr)(error.message);
    else writeFault(`${error.message} (${error.code})`);
    return exitCodeOf(error);
  } finally {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}

/** Writes the lines about the start and the end of the process in the format of its log. */
function lifeWriter({ logFormat }: AgentConfig, level?: 'error'): (line: string) => void {
  const asJson = isJsonLog(logFormat, process.stderr.isTTY);
  return (line) => void process.stderr.write(lifeLine('agents', line, asJson, level));
}

async function run(
  sources: readonly AgentSource[],
  { config, env }: Pick<ProcessContext, 'config' | 'env'>,
  stop: AbortSignal,
  write: (line: string) => void,
): Promise<number> {
  const log = createLog('agents', config.logLevel, undefined, config.logFormat);
  const telemetry = await startTelemetry(env, log);
  const named: NamedAgent[] = [];
  const { stateKey } = config;
  const stateKeys = new StateKeys(stateKey === undefined ? [] : readMasterKeys(stateKey));
  const store = new ProcessStore(config, log);
  const metrics = await openMetrics(config);
  try {
    for (const source of sources) {
      named.push(typeof source === 'function' ? await source({ config, log, env }) : { agent: source });
    }
    const agents = named.map(({ agent }) => agent);
    // A store that cannot be opened or decrypted must end the process at once, not after the wait for a sentinel.
    const stored = agents.filter(({ needsStore }) => needsStore);
    if (stored.length > 0) {
      const opened = await store.open();
      for (const { address } of stored) stateKeys.assertKnown(address, await opened.keyIds(address));
    }
    const session = new SessionFile(config, agents, log);
    const urls = { url: config.admissionUrl, otherUrls: config.otherAdmissionUrls };
    const token = new AdmissionToken(leastTrustedUrl(urls), config.admissionToken, (message) =>
      log.warn(message),
    );
    const signatures = await openLinkSignatures(config.securityProfile);
    const link = new Link({ ...linkOptions(config, log), signatures, token, ...session.linkOptions() });
    const worker = new AgentWorker(agents, {
      link,
      log,
      maxConcurrent: config.maxConcurrent,
      openStore: store.open,
      stateKeys,
      quotas: config.quotas,
      observer: allObservers([
        ...(metrics === undefined ? [] : [metrics.observer]),
        ...(telemetry?.observers ?? []),
      ]),
    });
    try {
      await worker.start({ signal: stop });
    } catch (error) {
      throw token.explain(error);
    }
    session.keep(link.systemId);
    const { healthFile } = config;
    const health = healthFile === undefined ? undefined : new HealthFile(healthFile, { link, log });
    for (const { agent, note } of named) {
      const about = note ? ` (${note})` : '';
      write(`${agent.address} is served through ${redactUrl(config.admissionUrl)}${about}`);
    }
    if (metrics !== undefined) write(`Metrics: http://${metrics.authority}/metrics`);
    reports.publish({ state: 'served', agents });
    await new Promise<void>((resolve) => onAbort(stop, resolve));
    health?.remove();
    write(`Stopping: running calls have ${config.drainMs / 1_000} s to finish; a second signal ends them`);
    await worker.drain(config.drainMs);
    session.remove();
    write('Stopped');
    return EXIT.ok;
  } finally {
    try {
      for (const { close } of named.toReversed()) await close?.();
    } finally {
      await metrics?.close();
      await store.close();
      await telemetry?.stop();
    }
  }
}

// Loads the metrics only for a process that serves them.
async function openMetrics({
  metricsPort: port,
  metricsHost: host,
}: AgentConfig): Promise<MetricsServer | undefined> {
  if (port === undefined) return undefined;
  const { MetricsServer } = await import('./metrics-server.ts');
  return MetricsServer.open({ port, host, clock: systemClock });
}

/** The options of the link that serves the agents, without its token and session. */
export function linkOptions(config: AgentConfig, log: Logger): LinkOptions {
  return {
    url: config.admissionUrl,
    otherUrls: config.otherAdmissionUrls,
    dial: wsDialWith(config.clientCertificate),
    sidOf,
    log,
    connectTimeoutMs: config.connectTimeoutMs,
    // Also for the first attach, before an address is bound.
    backoffMaxMs: SERVING_BACKOFF_MAX_MS,
    deliveryProfile: config.deliveryProfile,
    queueBytes: config.queueBytes,
    systemId: config.nodeId,
    trace: config.showEnvelopes ? envelopeLog(log) : undefined,
  };
}

// Logs metadata only: payloads are private to the two ends.
function envelopeLog(log: Logger): NonNullable<LinkOptions['trace']> {
  return (direction, envelope) => {
    log.info(`envelope ${direction}`, { ...shownHeader(envelope), frame: envelope.frame.type });
  };
}
