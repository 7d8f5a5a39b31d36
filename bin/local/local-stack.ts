// A sentinel and a chat agent as background processes on this machine. `stop` ends only the processes that `start` started.
// Pid files and logs are in the data directory. Readiness is checked at the sentinel's HTTP endpoints.
import { addressesOf } from '@fame-fabric/agents/internal';
import { AGENT_VARIABLES, readAgentConfig } from '@fame-fabric/agents/process';
import { DOOR_VARIABLES } from '@fame-fabric/doors/config';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { systemClock } from '@fame-fabric/shared';
import {
  type Environment,
  escapeControls,
  escapeLine,
  pause,
  type Variable,
} from '@fame-fabric/shared/internal';
import { type ClientConfig, type LocalSentinel, localSentinel, localSentinelOf } from '../config.ts';
import { doorsOf } from '../doors.ts';
import {
  areServed,
  getNodes,
  isAuthError,
  isReady,
  type SentinelHttp,
  servedOf,
  type Uplink,
} from '../sentinel-http.ts';
import { localAgentEnv } from '../settings.ts';
import { ManagedProcess, type ProcessRecord } from './managed-process.ts';
import { isPortTaken, portOwner } from './port-owner.ts';
import { changedSettings, digestSettings } from './settings-digest.ts';

export interface LocalStackOptions {
  config: ClientConfig;
  env: Environment;
  writeLine: (line: string) => void;
}

/** A failure that the user has to resolve. Its message is printed unchanged; exit code 1. */
export class LocalError extends Error {
  override readonly name = 'LocalError';
}

/** State of the two processes; `undefined` for one that does not run. */
export interface LocalStatus {
  url: string;
  sentinel: { pid: number; startedAt: number; isReady: boolean } | undefined;
  agent: { pid: number; startedAt: number; isAttached: boolean; addresses: readonly string[] } | undefined;
  /** Connections of the sentinel to a parent and to peers. Empty if it does not answer. */
  uplinks: readonly Uplink[];
}

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
/** Short, because the program on a taken port may not be a sentinel and may never answer. */
const IDENTIFY_TIMEOUT_MS = 1_000;
/** Time between the end of the drain and SIGKILL. */
const STOP_GRACE_MS = 10_000;
const LOG_LINES_SHOWN = 12;

/** Settings of the sentinel. The port has its own check, and agents share the variables of their admission. */
const OWN_SENTINEL_VARIABLES = [...SENTINEL_VARIABLES, ...DOOR_VARIABLES].filter(
  ({ name }) => name !== 'FAME_LISTENER_PORT',
);

async function uplinksOf(sentinel: SentinelHttp): Promise<readonly Uplink[]> {
  try {
    return (await getNodes(sentinel)).uplinks ?? [];
  } catch {
    return []; // the other lines of the status report a sentinel that does not answer
  }
}

/** Names of the settings that changed since the process was started. None for a record of an older version. */
const changesOf = (
  { settings }: ProcessRecord,
  env: Environment,
  variables: readonly Variable[],
): readonly string[] => (settings ? changedSettings(settings, env, variables) : []);

/** The processes of `make start`. */
export class LocalStack {
  readonly sentinel: ManagedProcess;
  readonly agent: ManagedProcess;
  readonly #options: LocalStackOptions;

  constructor(options: LocalStackOptions) {
    this.#options = options;
    this.sentinel = new ManagedProcess('sentinel', options.config.dataDir);
    this.agent = new ManagedProcess('chat-agent', options.config.dataDir);
  }

  get #stopGraceMs(): number {
    return this.#options.config.drainMs + STOP_GRACE_MS;
  }

  /** Location of the sentinel that `start` started. Its recorded port takes precedence over the current settings. */
  location(): LocalSentinel {
    const { local } = this.#options.config;
    return localSentinel({ ...local, port: this.sentinel.recorded()?.port ?? local.port });
  }

  /**
   * Starts the processes that do not run yet, and waits until the agents can be called. Restarts the agents if their settings
   * changed. Returns the addresses of the agents. @throws {LocalError}
   */
  async start(): Promise<readonly string[]> {
    const { config, writeLine } = this.#options;
    const started: ManagedProcess[] = [];
    try {
      if (await this.#startSentinel()) started.push(this.sentinel);
      if (await this.#startAgent()) started.push(this.agent);
    } catch (error) {
      for (const part of started.reverse()) await part.stop(this.#stopGraceMs); // start both or neither
      throw error;
    }
    if (started.length === 0) writeLine(`Already running at ${config.local.url}`);
    return this.agent.recorded()?.addresses ?? [config.chatAddress];
  }

  async #startSentinel(): Promise<boolean> {
    const { config, env, writeLine } = this.#options;
    const { host, port, url, httpUrl } = config.local;
    const running = this.sentinel.running();
    if (running) {
      const changed = changesOf(running, env, OWN_SENTINEL_VARIABLES);
      if (changed.length > 0) {
        writeLine(`The sentinel keeps its settings; \`make stop start\` applies ${changed.join(', ')}.`);
      }
      if (running.port === port) return false;
      throw new LocalError(
        `The sentinel already runs on port ${running.port}. To start it on port ${port}, run \`make stop\` first.`,
      );
    }
    if (await isPortTaken(host, port)) throw new LocalError(await this.#portTakenText());
    const record = this.sentinel.start(['sentinel'], {
      env: { ...env, FAME_LISTENER_PORT: String(port) },
      port,
      settings: digestSettings(env, OWN_SENTINEL_VARIABLES),
    });
    await this.#waitUntil(this.sentinel, record, 'ready', () => isReady(httpUrl));
    writeLine(`sentinel    pid ${record.pid}, ${url}`);
    const doors = doorsOf(env);
    if (doors?.text !== undefined) writeLine(`doors       ${httpUrl}, ${doors.text}`);
    return true;
  }

  async #startAgent(): Promise<boolean> {
    const { config, env, writeLine } = this.#options;
    const { port, url } = config.local;
    const sentinel = localSentinelOf(config, config.local);
    const agentEnv = { ...localAgentEnv(env, port), FAME_DIRECT_ADMISSION_URL: url };
    const running = this.agent.running();
    if (running) {
      const changed = changesOf(running, agentEnv, AGENT_VARIABLES);
      if (changed.length === 0) return false;
      writeLine(`chat agent  restarts, because these settings changed: ${changed.join(', ')}`);
      await this.agent.stop(this.#stopGraceMs);
    }
    const addresses = addressesOf(readAgentConfig(agentEnv));
    const taken = await servedOf(sentinel, addresses);
    if (taken.length > 0) {
      writeLine(
        `chat agent  ${taken.join(', ')} is already served by an agent that \`make start\` did not start`,
      );
      return false;
    }
    const settings = digestSettings(agentEnv, AGENT_VARIABLES);
    const record = this.agent.start(['agent'], { env: agentEnv, port, settings, addresses });
    await this.#waitUntil(this.agent, record, 'attached', () => areServed(sentinel, addresses));
    writeLine(`chat agent  pid ${record.pid}, ${addresses.join(', ')}`);
    return true;
  }

  async #waitUntil(
    part: ManagedProcess,
    record: ProcessRecord,
    state: string,
    isInState: () => Promise<boolean>,
  ): Promise<void> {
    const deadline = systemClock.monotonic() + START_TIMEOUT_MS;
    while (!(await isInState())) {
      const hasEnded = part.running()?.pid !== record.pid;
      if (hasEnded || systemClock.monotonic() > deadline) {
        await part.stop(this.#stopGraceMs);
        const fault = hasEnded
          ? 'ended while it was starting'
          : `was not ${state} after ${START_TIMEOUT_MS / 1000} s`;
        const tail = escapeControls(part.logTail(LOG_LINES_SHOWN));
        throw new LocalError(`The ${part.name} ${fault}. The end of ${part.logFile}:\n${tail}`);
      }
      await pause(systemClock, POLL_MS);
    }
  }

  async #portTakenText(): Promise<string> {
    const { config } = this.#options;
    const { port } = config.local;
    const owner = portOwner(port);
    const name = owner ? `${owner.command} (pid ${owner.pid})` : 'another program';
    const fix =
      'Stop it, or choose another port: `make start FAME_LISTENER_PORT=8001` (and the same for `make run`).';
    try {
      const { sentinel } = await getNodes(localSentinelOf(config, config.local), {
        timeoutMs: IDENTIFY_TIMEOUT_MS,
      });
      const id = escapeLine(String(sentinel.id));
      return `Port ${port} is taken by a Fame sentinel that \`make start\` did not start: ${id}, ${name}. ${fix}`;
    } catch (error) {
      if (!isAuthError(error)) return `Port ${port} is taken by ${name}. ${fix}`;
      return `Port ${port} is taken by a Fame sentinel with another data directory: ${name}. ${fix}`;
    }
  }

  /** Stops the processes that `start` started. Returns their names and pids. */
  async stop(): Promise<string[]> {
    const stopped: string[] = [];
    for (const part of [this.agent, this.sentinel]) {
      const record = part.running();
      if (await part.stop(this.#stopGraceMs)) stopped.push(`${part.name} (pid ${record?.pid})`);
    }
    return stopped;
  }

  async status(): Promise<LocalStatus> {
    const sentinel = this.sentinel.running();
    const agent = this.agent.running();
    const { config } = this.#options;
    const location = this.location();
    const { url, httpUrl } = location;
    const addresses = agent?.addresses ?? [config.chatAddress];
    return {
      url,
      sentinel: sentinel && {
        pid: sentinel.pid,
        startedAt: sentinel.startedAt,
        isReady: await isReady(httpUrl),
      },
      uplinks: sentinel ? await uplinksOf(localSentinelOf(config, location)) : [],
      agent: agent && {
        pid: agent.pid,
        startedAt: agent.startedAt,
        addresses,
        isAttached: await areServed(localSentinelOf(config, location), addresses),
      },
    };
  }
}
