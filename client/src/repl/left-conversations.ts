// Conversations that a person left without ending them, so that `fame chat --resume` finds them again. The agent keeps what was
// said; this file keeps which ones there are, what each began with, and a message that has no answer yet. Only its owner may
// read it.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@fame-fabric/shared/data-dir';

/** Most conversations that are remembered; the oldest goes first. */
const MOST = 50;
const TITLE_CHARS = 60;

export interface LeftConversation {
  readonly id: string;
  readonly address: string;
  /** What it began with. */
  readonly title: string;
  /** ms since the epoch. */
  readonly changedAt: number;
  /** A message that was sent and not answered when the program ended. */
  readonly open?: { readonly turnId: string; readonly text: string };
}

export class LeftConversations {
  readonly #path: string;
  readonly #onFault: (reason: string) => void;
  #hasFault = false;

  /** `onFault` is told, once, why they cannot be kept. */
  constructor(dataDir: string, onFault: (reason: string) => void) {
    this.#path = join(dataDir, 'chats.json');
    this.#onFault = onFault;
  }

  /** The latest first. */
  list(): LeftConversation[] {
    return this.#guard(() => this.#read(), []);
  }

  get(id: string): LeftConversation | undefined {
    return this.list().find((one) => one.id === id);
  }

  /** A message is on its way. */
  asked(id: string, address: string, open: { turnId: string; text: string }): void {
    const title = this.get(id)?.title ?? open.text.replace(/\s+/g, ' ').slice(0, TITLE_CHARS);
    this.#put({ id, address, title, changedAt: Date.now(), open });
  }

  /** It was answered, or will not be. */
  answered(id: string): void {
    const known = this.get(id);
    if (!known) return;
    const { address, title } = known;
    this.#put({ id, address, title, changedAt: Date.now() });
  }

  /** It has ended. */
  forget(id: string): void {
    this.#write((all) => all.filter((one) => one.id !== id));
  }

  #put(entry: LeftConversation): void {
    this.#write((all) => [entry, ...all.filter((one) => one.id !== entry.id)].slice(0, MOST));
  }

  #write(change: (all: LeftConversation[]) => LeftConversation[]): void {
    if (this.#hasFault) return;
    this.#guard(() => {
      makeDirectory(dirname(this.#path));
      // Written beside it and moved, so that a crash leaves the one or the other.
      const beside = `${this.#path}.${process.pid}`;
      writeFileSync(beside, `${JSON.stringify(change(this.#read()), null, 1)}\n`, { mode: 0o600 });
      renameSync(beside, this.#path);
    }, undefined);
  }

  #read(): LeftConversation[] {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const parsed: unknown = JSON.parse(text);
    return Array.isArray(parsed) ? parsed.filter((one) => typeof one?.id === 'string') : [];
  }

  #guard<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      if (!this.#hasFault) this.#onFault(error instanceof Error ? error.message : String(error));
      this.#hasFault = true;
      return otherwise;
    }
  }
}
