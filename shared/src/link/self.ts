// Who this node is, as the sentinel said in its last NodeAttachAck. One object, shared by all parts of a link.
import { newId } from '../ids.ts';
import { REPLY_PREFIX, SYSTEM_PARTICIPANT } from '../protocol/address.ts';

export class Self {
  readonly #sidOf: ((path: string) => string) | undefined;
  readonly #replyParticipant = `${REPLY_PREFIX}${newId()}`;
  /** `/sentinel/node`; empty before the first attach. */
  path = '';
  sid: string | undefined;
  systemAddress = '';
  replyAddress = '';
  #atPath = '';

  constructor(sidOf: ((path: string) => string) | undefined) {
    this.#sidOf = sidOf;
  }

  adopt(path: string): void {
    if (path === this.path) return;
    this.path = path;
    this.sid = this.#sidOf?.(path);
    this.#atPath = `@${path}`;
    this.systemAddress = `${SYSTEM_PARTICIPANT}${this.#atPath}`;
    this.replyAddress = `${this.#replyParticipant}${this.#atPath}`;
  }

  /** Whether an address is a participant at this node's own path. */
  isOwn(address: string): boolean {
    return this.path !== '' && address.endsWith(this.#atPath);
  }
}
