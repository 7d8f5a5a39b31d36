// A sentinel and a chat agent as background processes on this machine. `stop` ends only the processes that `start` started.
// Pid files and logs are in the data directory. Readiness is checked at the sentinel's HTTP endpoints.
import { systemClock } from '@fame-fabric/shared';
import { type Environment, escapeControls, escapeLine, pause } from '@fame-fabric/shared/internal';
import { type ClientConfig, type LocalSentinel, localSentinel, localSentinelOf } from '../config.ts';
import { getNodes, isAuthError, isReady, isServed } from '../sentinel-http.ts';
import { localAgentEnv } from '../settings.ts';
import { ManagedProcess, type ProcessRecord } from './managed-process.ts';
import { isPortTaken, portOwner } from './port-owner.ts';

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
  agent: { pid: number; startedAt: number; isAttached: boolean } | undefined;
}

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 100;
/** Short, because the program on a taken port may not be a sentinel and may never answer. */
const IDENTIFY_TIMEOUT_MS = 1_000;
/** Time between the end of the drain and SIGKILL. */
const STOP_GRACE_MS = 10_000;
const LOG_LINES_SHOWN = 12;

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
    return localSentinel(local.host, this.sentinel.recorded()?.port ?? local.port);
  }

  /** Starts the processes that do not run yet, and waits until the chat agent can be called. @throws {LocalError} */
  async start(): Promise<void> {
    const { config, writeLine } = this.#options;
    const started: ManagedProcess[] = [];
    try {
      if (await this.#startSentinel()) started.push(this.sentinel);
      if (await this.#startAgent()) started.push(this.agent);
    } catch (error) {
      for (const part of started.reverse()) await part.stop(this.#stopGraceMs); // start both or neither
      throw error;
    }
    if (started.length === 0) {
      writeLine(
        `Already running at ${config.local.url}. To apply changed settings, run \`make stop\` first.`,
      );
    }
  }

  async #startSentinel(): Promise<boolean> {
    const { config, env, writeLine } = this.#options;
    const { host, port, url, httpUrl } = config.local;
    const running = this.sentinel.running();
    if (running) {
      if (running.port === port) return false;
      throw new LocalError(
        `The sentinel already runs on port ${running.port}. To start it on port ${port}, run \`make stop\` first.`,
      );
    }
    if (await isPortTaken(host, port)) throw new LocalError(await this.#portTakenText());
    const record = this.sentinel.start(['sentinel'], { ...env, FAME_LISTENER_PORT: String(port) }, port);
    await this.#waitUntil(this.sentinel, record, 'ready', () => isReady(httpUrl));
    writeLine(`sentinel    pid ${record.pid}, ${url}`);
    return true;
  }

  async #startAgent(): Promise<boolean> {
    const { config, env, writeLine } = this.#options;
    const { port, url } = config.local;
    const sentinel = localSentinelOf(config, config.local);
    if (this.agent.running()) return false;
    if (await isServed(sentinel, config.chatAddress)) {
      writeLine(
        `chat agent  ${config.chatAddress} is already served by an agent that \`make start\` did not start`,
      );
      return false;
    }
    const record = this.agent.start(
      ['agent'],
      { ...localAgentEnv(env, port), FAME_DIRECT_ADMISSION_URL: url },
      port,
    );
    await this.#waitUntil(this.agent, record, 'attached', () => isServed(sentinel, config.chatAddress));
    writeLine(`chat agent  pid ${record.pid}, ${config.chatAddress}`);
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
      const { sentinel } = await getNodes(localSentinelOf(config, config.local), IDENTIFY_TIMEOUT_MS);
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
    return {
      url,
      sentinel: sentinel && {
        pid: sentinel.pid,
        startedAt: sentinel.startedAt,
        isReady: await isReady(httpUrl),
      },
      agent: agent && {
        pid: agent.pid,
        startedAt: agent.startedAt,
        isAttached: await isServed(localSentinelOf(config, location), config.chatAddress),
      },
    };
  }
}
