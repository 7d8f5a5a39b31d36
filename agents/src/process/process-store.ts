// The store of a process: conversations, and the state and inbox of agents. It is opened when the first agent needs it, and all
// agents of the process share it.
import type { Logger } from '@fame-fabric/shared';
import type { AgentStore } from '../store/agent-store.ts';
import type { OpenedStore } from '../store/open-store.ts';
import type { ConversationStore } from '../store/store.ts';
import type { AgentConfig } from './config.ts';

export class ProcessStore {
  readonly #config: AgentConfig;
  readonly #log: Logger;
  #opened: Promise<OpenedStore> | undefined;

  constructor(config: AgentConfig, log: Logger) {
    this.#config = config;
    this.#log = log;
  }

  /** Opens the store in FAME_DATA_DIR or of FAME_STORE_URL, once. @throws {CONFIG_INVALID | STORE_UNAVAILABLE | STORE_SCHEMA} */
  readonly open = async (): Promise<ConversationStore & AgentStore> => {
    this.#opened ??= this.#open();
    return (await this.#opened).store;
  };

  async #open(): Promise<OpenedStore> {
    // Processes without conversations do not load the store.
    const { openStore } = await import('../store/open-store.ts');
    const opened = await openStore(this.#config, this.#log);
    this.#log.info('conversation store opened', { store: opened.store.place });
    return opened;
  }

  /** Closes the store if it was opened. Call it when no agent uses it any more. */
  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => undefined);
    await opened?.close();
  }
}
