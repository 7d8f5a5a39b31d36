// Conversations that the user left without ending them, for `fame chat --resume`. The agent has the history. This file has
// their ids, their titles, and a message without an answer. Only the owner may read it.
import { renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemClock } from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import { makeDirectory } from '@fame-fabric/shared/node';
import { OptionalFile } from './optional-file.ts';

/** Maximum number of saved conversations. The oldest is removed first. */
const MAX_CONVERSATIONS = 50;
const MAX_TITLE_CHARS = 60;

/** A turn without an answer. */
export interface OpenTurn {
  readonly turnId: string;
  readonly text: string;
}

export interface SavedConversation {
  readonly id: string;
  readonly address: string;
  /** The beginning of its first message. */
  readonly title: string;
  /** ms since the epoch. */
  readonly changedAt: number;
  /** The turn without an answer when the program ended. */
  readonly open?: OpenTurn;
}

export class SavedConversations {
  readonly #file: OptionalFile;

  /** @param onFault called once if conversations cannot be saved */
  constructor(dataDir: string, onFault: (reason: string) => void) {
    this.#file = new OptionalFile(join(dataDir, 'chats.json'), onFault);
  }

  /** Returns all conversations, the latest first. */
  list(): SavedConversation[] {
    return this.#file.attempt(() => this.#read(), []);
  }

  get(id: string): SavedConversation | undefined {
    return this.list().find((one) => one.id === id);
  }

  /** Saves a conversation with a message that was sent. */
  messageSent(id: string, address: string, open: OpenTurn): void {
    const title = this.get(id)?.title ?? cutText(open.text.replace(/\s+/g, ' '), MAX_TITLE_CHARS, '');
    this.#put({ id, address, title, changedAt: systemClock.now(), open });
  }

  /** Records that the last message was answered, or that its turn failed. */
  messageSettled(id: string): void {
    const known = this.get(id);
    if (!known) return;
    const { address, title } = known;
    this.#put({ id, address, title, changedAt: systemClock.now() });
  }

  remove(id: string): void {
    this.#update((all) => all.filter((one) => one.id !== id));
  }

  #put(entry: SavedConversation): void {
    this.#update((all) => [entry, ...all.filter((one) => one.id !== entry.id)].slice(0, MAX_CONVERSATIONS));
  }

  #update(change: (all: SavedConversation[]) => SavedConversation[]): void {
    const { path, hasFailed } = this.#file;
    if (hasFailed) return;
    this.#file.attempt(() => {
      makeDirectory(dirname(path));
      // Write a new file and rename it, so that a crash leaves either the old or the new one.
      const temporary = `${path}.${process.pid}`;
      writeFileSync(temporary, `${JSON.stringify(change(this.#read()), null, 1)}\n`, { mode: 0o600 });
      renameSync(temporary, path);
    }, undefined);
  }

  #read(): SavedConversation[] {
    const parsed: unknown = JSON.parse(this.#file.read() ?? '[]');
    return Array.isArray(parsed) ? parsed.filter((one) => typeof one?.id === 'string') : [];
  }
}
