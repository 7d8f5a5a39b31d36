// Session file of an agent process. A process that restarts after a kill resumes its session at the sentinel: its path, its
// addresses and its queued messages. Without the file it starts a new session, and its addresses are free when the resume window
// of the earlier session ends.
import { rmSync } from 'node:fs';
import type { LinkOptions, Logger } from '@fame-fabric/shared';
import { readSession, sessionFile, writeSession } from '@fame-fabric/shared/node';
import { isPoolAddress } from '../conversation/replica/replica-address.ts';
import type { AgentConfig } from './config.ts';

/**
 * Keeps one session for each set of agents at a sentinel, so that processes with other agents use other files. Replicas keep none: several
 * processes with the same agents may share the data directory, and a new one takes over the work of a lost one.
 */
export class SessionFile {
  readonly #config: AgentConfig;
  readonly #log: Logger;
  /** Undefined for replicas. */
  readonly #path: string | undefined;
  #systemId: string | undefined;
  #token: string | undefined;

  constructor(config: AgentConfig, agents: readonly { readonly address: string }[], log: Logger) {
    this.#config = config;
    this.#log = log;
    const addresses = agents.map(({ address }) => address).sort();
    this.#path = addresses.some(isPoolAddress)
      ? undefined
      : sessionFile(config.dataDir, [config.admissionUrl, ...addresses]);
  }

  /** Link options that resume the stored session, if there is one. */
  linkOptions(): Pick<LinkOptions, 'systemId' | 'resumeToken' | 'onResumeToken'> {
    const stored = this.#path === undefined ? undefined : readSession(this.#path);
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
    if (this.#path !== undefined) rmSync(this.#path, { force: true });
  }

  #write(): void {
    if (this.#path === undefined || this.#systemId === undefined || this.#token === undefined) return;
    try {
      writeSession(this.#path, { systemId: this.#systemId, resumeToken: this.#token });
    } catch (error) {
      this.#log.warn('cannot store the session; a restart will wait for its resume window', { error });
    }
  }
}
