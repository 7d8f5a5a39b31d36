// The stack on this machine: a sentinel and a chat agent as background processes, begun by `start`, ended by `stop`, which
// ends just those. Pid files and logs lie under the data directory; state is read from there and from the sentinel itself.

import { type ClientConfig, type LocalSentinel, localSentinel } from '../config.ts';
import { getNodes } from '../sentinel-http.ts';
import type { Environment } from '../verb.ts';
import { Part, type PartRecord, pause } from './managed-process.ts';
import { isPortTaken, portOwner } from './port-owner.ts';

export interface LocalOptions {
  config: ClientConfig;
  env: Environment;
  say: (line: string) => void;
}

/** Something a person has to decide: shown as it is, exit code 1. */
export class LocalError extends Error {
  override readonly name = 'LocalError';
}

export interface LocalStatus {
  url: string;
  sentinel: { pid: number; startedAt: number; isReady: boolean } | undefined;
  agent: { pid: number; startedAt: number; isAttached: boolean } | undefined;
}

const START_MS = 30_000;
const POLL_MS = 100;
/** Who holds a port is asked whether it is a sentinel; what is none may not answer at all. */
const ASK_MS = 1_000;
/** What has not drained so long after its time is ended. */
const STOP_GRACE_MS = 10_000;

export class Local {
  readonly #options: LocalOptions;
  readonly sentinel: Part;
  readonly agent: Part;

  constructor(options: LocalOptions) {
    this.#options = options;
    this.sentinel = new Part('sentinel', options.config.dataDir);
    this.agent = new Part('chat-agent', options.config.dataDir);
  }

  get #patienceMs(): number {
    return this.#options.config.drainMs + STOP_GRACE_MS;
  }

  /** Where what `start` began is reached: on the port that was written down then, whatever the settings say now. */
  where(): LocalSentinel {
    const { local } = this.#options.config;
    return localSentinel(local.host, this.sentinel.recorded()?.port ?? local.port);
  }

  /** Starts what does not run yet and waits until calls can be made. @throws {LocalError} */
  async start(): Promise<void> {
    const { config, say } = this.#options;
    const begun: Part[] = [];
    try {
      if (await this.#startSentinel()) begun.push(this.sentinel);
      if (await this.#startAgent()) begun.push(this.agent);
    } catch (error) {
      for (const part of begun.reverse()) await part.stop(this.#patienceMs); // all of it runs, or nothing
      throw error;
    }
    if (begun.length === 0)
      say(`Already running at ${config.local.url}; \`make stop\` first if settings changed.`);
  }

  async #startSentinel(): Promise<boolean> {
    const { config, env, say } = this.#options;
    const running = this.sentinel.running();
    if (running) {
      if (running.port === config.local.port) return false;
      throw new LocalError(
        `The sentinel already runs on port ${running.port}. \`make stop\` first, to start it on port ${config.local.port}.`,
      );
    }
    if (await isPortTaken(config.local.host, config.local.port))
      throw new LocalError(await this.#whoHasThePort());
    const record = this.sentinel.start(
      ['sentinel'],
      { ...env, FAME_LISTENER_PORT: String(config.local.port) },
      config.local.port,
    );
    await this.#until(this.sentinel, record, 'ready', () => isReady(config.local.httpUrl));
    say(`sentinel    pid ${record.pid}, ${config.local.url}`);
    return true;
  }

  async #startAgent(): Promise<boolean> {
    const { config, env, say } = this.#options;
    if (this.agent.running()) return false;
    if (await isServed(config.local.httpUrl, config.chatAddress)) {
      say(`chat agent  ${config.chatAddress} is already served, by an agent that was started by hand`);
      return false;
    }
    const record = this.agent.start(
      ['agent'],
      { ...env, FAME_DIRECT_ADMISSION_URL: config.local.url },
      config.local.port,
    );
    await this.#until(this.agent, record, 'attached', () =>
      isServed(config.local.httpUrl, config.chatAddress),
    );
    say(`chat agent  pid ${record.pid}, ${config.chatAddress}`);
    return true;
  }

  async #until(part: Part, record: PartRecord, state: string, isSo: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + START_MS;
    while (!(await isSo())) {
      const hasDied = part.running()?.pid !== record.pid;
      if (hasDied || Date.now() > deadline) {
        await part.stop(this.#patienceMs);
        const what = hasDied ? 'ended while it was starting' : `was not ${state} after ${START_MS / 1000} s`;
        throw new LocalError(`The ${part.name} ${what}. The end of ${part.logFile}:\n${part.logTail(12)}`);
      }
      await pause(POLL_MS);
    }
  }

  async #whoHasThePort(): Promise<string> {
    const { config } = this.#options;
    const owner = portOwner(config.local.port);
    const name = owner ? `${owner.command} (pid ${owner.pid})` : 'another program';
    const other =
      'Stop it, or choose another port: `make start FAME_LISTENER_PORT=8001` (and the same for `make run`).';
    try {
      const { sentinel } = await getNodes(config.local.httpUrl, ASK_MS);
      return `Port ${config.local.port} is served by a Fame sentinel that \`make start\` did not begin: ${sentinel.id}, ${name}. ${other}`;
    } catch {
      return `Port ${config.local.port} is taken by ${name}. ${other}`;
    }
  }

  /** Ends what `start` began; returns what it ended. */
  async stop(): Promise<string[]> {
    const ended: string[] = [];
    for (const part of [this.agent, this.sentinel]) {
      const record = part.running();
      if (await part.stop(this.#patienceMs)) ended.push(`${part.name} (pid ${record?.pid})`);
    }
    return ended;
  }

  async status(): Promise<LocalStatus> {
    const sentinel = this.sentinel.running();
    const agent = this.agent.running();
    const { url, httpUrl } = this.where();
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
        isAttached: await isServed(httpUrl, this.#options.config.chatAddress),
      },
    };
  }
}

/** Whether the sentinel takes attaches. */
export async function isReady(origin: string): Promise<boolean> {
  try {
    const response = await fetch(new URL('/readyz', origin), { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false; // not there yet
  }
}

/** Whether somebody attached serves `address`. */
export async function isServed(origin: string, address: string): Promise<boolean> {
  try {
    const { nodes } = await getNodes(origin);
    return nodes.some((node) => node.state === 'attached' && node.addresses.includes(address));
  } catch {
    return false; // not there yet
  }
}
