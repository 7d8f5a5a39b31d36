// The file with the session of an agent process at its sentinel. A process that was killed and starts again takes the session up:
// its path, its addresses and the messages that wait for it. Without the file it starts with a new session, and its addresses
// are free when the resume window of the earlier one ends.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LinkOptions, type Logger, newId } from '@fame-fabric/shared';
import { makeDirectory } from '@fame-fabric/shared/node';
import type { AgentConfig } from './config.ts';

interface StoredSession {
  readonly systemId: string;
  /** Secret. */
  readonly resumeToken: string;
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= 128;

/** Keeps one session for each set of agents at a sentinel, so that processes with other agents use other files. */
export class SessionFile {
  readonly #config: AgentConfig;
  readonly #log: Logger;
  readonly #path: string;
  #systemId: string | undefined;
  #token: string | undefined;

  constructor(config: AgentConfig, agents: readonly { readonly address: string }[], log: Logger) {
    this.#config = config;
    this.#log = log;
    const addresses = agents.map(({ address }) => address).sort();
    const key = createHash('sha256').update(JSON.stringify([config.admissionUrl, ...addresses]));
    this.#path = join(config.dataDir, `session-${key.digest('hex').slice(0, 16)}.json`);
  }

  /** Options of the link that takes up the stored session, if there is one. */
  linkOptions(): Pick<LinkOptions, 'systemId' | 'resumeToken' | 'onResumeToken'> {
    const stored = this.#read();
    const systemId = this.#config.nodeId ?? stored?.systemId;
    return {
      systemId,
      resumeToken: stored !== undefined && stored.systemId === systemId ? stored.resumeToken : undefined,
      onResumeToken: (token) => {
        this.#token = token;
        this.#write();
      },
    };
  }

  /**
   * Begins to store the session, once the agents are bound. A second process with the same agents is refused before, and must
   * not replace the session of the first one.
   */
  keep(systemId: string): void {
    this.#systemId = systemId;
    this.#write();
  }

  /** Forgets the session, which has ended. */
  remove(): void {
    this.#systemId = undefined;
    rmSync(this.#path, { force: true });
  }

  #read(): StoredSession | undefined {
    try {
      const { systemId, resumeToken } = JSON.parse(readFileSync(this.#path, 'utf8')) as StoredSession;
      if (isText(systemId) && isText(resumeToken)) return { systemId, resumeToken };
    } catch {
      // There is none, or it is damaged: the process starts with a new session.
    }
    return undefined;
  }

  // Replaces the file in one step, so that a crash leaves the earlier token, which the sentinel still accepts.
  #write(): void {
    if (this.#systemId === undefined || this.#token === undefined) return;
    const stored: StoredSession = { systemId: this.#systemId, resumeToken: this.#token };
    const fresh = `${this.#path}.${newId()}`;
    try {
      makeDirectory(this.#config.dataDir);
      writeFileSync(fresh, JSON.stringify(stored), { mode: 0o600, flag: 'wx' });
      renameSync(fresh, this.#path);
    } catch (error) {
      if (existsSync(fresh)) rmSync(fresh);
      this.#log.warn('cannot store the session; a restart will wait for its resume window', { error });
    }
  }
}
