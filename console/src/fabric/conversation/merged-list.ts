// The conversations of several agents as one list, latest change first. Each agent pages its own list, and the pages are merged.
import type { ConversationPage, ConversationSummary } from '@fame-fabric/client';

export interface ListedConversation extends ConversationSummary {
  /** Address of its agent. */
  readonly agent: string;
}

export interface ListSource {
  readonly agent: string;
  /** Requests a page: the first one, or the one after the cursor `before`. */
  readonly page: (before: string | undefined) => Promise<ConversationPage>;
}

interface Reader {
  readonly source: ListSource;
  buffer: ListedConversation[];
  before: string | undefined;
  isOver: boolean;
}

/** Pages that one call requests from each agent at most. Filters of the page may skip whole pages. */
const MAX_PAGES = 10;

export class MergedList {
  readonly #readers: readonly Reader[];
  readonly #accepts: (conversation: ListedConversation) => boolean;
  /** The errors of agents whose list could not be read, by address. */
  readonly errors = new Map<string, unknown>();

  /** `accepts` applies the filters that agents lack. */
  constructor(sources: readonly ListSource[], accepts: (conversation: ListedConversation) => boolean) {
    this.#readers = sources.map((source) => ({ source, buffer: [], before: undefined, isOver: false }));
    this.#accepts = accepts;
  }

  /** True once every agent has reached the end of its list. */
  get isOver(): boolean {
    return this.#readers.every(({ buffer, isOver }) => isOver && buffer.length === 0);
  }

  /** Returns the next conversations, at most `count`. May return fewer although the list is not over. */
  async next(count: number): Promise<ListedConversation[]> {
    const found: ListedConversation[] = [];
    for (let pages = 0; found.length < count; ) {
      const empty = this.#readers.filter(({ buffer, isOver }) => buffer.length === 0 && !isOver);
      if (empty.length > 0) {
        // Without its next entry, the order among the agents is not known.
        if (pages++ === MAX_PAGES) break;
        await Promise.all(empty.map((reader) => this.#fill(reader)));
        continue;
      }
      const next = this.#takeLatest();
      if (!next) break;
      found.push(next);
    }
    return found;
  }

  async #fill(reader: Reader): Promise<void> {
    const { source } = reader;
    try {
      const { conversations, next } = await source.page(reader.before);
      const entries = conversations.map((one) => ({ ...one, agent: source.agent }));
      reader.buffer = entries.filter(this.#accepts);
      reader.before = next ?? undefined;
      reader.isOver = next === null;
    } catch (error) {
      this.errors.set(source.agent, error);
      reader.isOver = true;
    }
  }

  #takeLatest(): ListedConversation | undefined {
    let latest: Reader | undefined;
    for (const reader of this.#readers) {
      const [head] = reader.buffer;
      const other = latest?.buffer[0];
      if (head && (!other || head.changed_at > other.changed_at)) latest = reader;
    }
    return latest?.buffer.shift();
  }
}
