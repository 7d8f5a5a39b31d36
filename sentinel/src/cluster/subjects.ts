// The subjects of a cluster on its bus. Tokens of NATS may not contain dots, spaces, `*` and `>`.
import { tryParseAddress } from '@fame-fabric/shared/router';

/**
 * Key of the nodes that have all of these capabilities, in place of an address. It begins with a space, which no address has. Empty if a
 * name has a space.
 */
export const capabilityKey = (names: readonly string[]): string =>
  names.length === 0 || names.some((name) => name.includes(' ')) ? '' : ` ${names.join(' ')}`;

/** The names in a key of capabilities; empty for an address. */
export const capabilitiesIn = (key: string): string[] => (key.startsWith(' ') ? key.slice(1).split(' ') : []);

// Sentinel ids have letters, digits, dots, underscores and hyphens.
const tokenOf = (id: string): string => id.replaceAll('.', '~');

export class Subjects {
  readonly #root: string;

  constructor(cluster: string) {
    this.#root = `fame.${cluster}`;
  }

  /** Announcements of the sentinels themselves. */
  get presence(): string {
    return `${this.#root}.p`;
  }

  /** Announcements that the shared rules changed. */
  get rules(): string {
    return `${this.#root}.r`;
  }

  /** Changes of the addresses that the sentinels serve. */
  get changes(): string {
    return `${this.#root}.e`;
  }

  /** Frames from one sentinel to another. */
  pair(to: string, from: string): string {
    return `${this.#root}.s.${tokenOf(to)}.${tokenOf(from)}`;
  }

  /** Frames of all other sentinels to this one. */
  pairsOf(to: string): string {
    return `${this.#root}.s.${tokenOf(to)}.*`;
  }

  /** Id of the sender in the subject of a frame. */
  senderOf(subject: string): string {
    return subject.slice(subject.lastIndexOf('.') + 1).replaceAll('~', '.');
  }

  /** Answers to the questions of one process. */
  inbox(process: string): string {
    return `${this.#root}.i.${process}.*`;
  }

  answer(process: string, question: number): string {
    return `${this.#root}.i.${process}.${question}`;
  }

  /** Number of the question that a message answers. */
  questionOf(subject: string): number {
    return Number(subject.slice(subject.lastIndexOf('.') + 1));
  }

  #capability(name: string): string {
    return `${this.#root}.k.${Buffer.from(name).toString('base64url')}`;
  }

  /** Requests of sentinels whose users read the live trace. */
  get watchers(): string {
    return `${this.#root}.w`;
  }

  /** Entries of the live trace for one sentinel. */
  traceFor(id: string): string {
    return `${this.#root}.t.${tokenOf(id)}`;
  }

  /** Questions for the nodes of a sentinel. */
  nodesOf(id: string): string {
    return `${this.#root}.n.${tokenOf(id)}`;
  }

  /** Questions for the addresses of the nodes of a sentinel. */
  addressesOf(id: string): string {
    return `${this.#root}.l.${tokenOf(id)}`;
  }

  /** Actions of an administrator on nodes of a sentinel. */
  actionsOf(id: string): string {
    return `${this.#root}.x.${tokenOf(id)}`;
  }

  /** Claims of an address. */
  claim(address: string): string {
    const at = address.lastIndexOf('@');
    return `${this.#root}.c.${hostTokens(address.slice(0, at), address.slice(at + 1))}`;
  }

  /** The subjects of the claims that the owner of an address answers: for a pool, also those of each address that the pool has. */
  claimsOf(address: string): string[] {
    const own = this.claim(address);
    return own.endsWith('.*') ? [own.slice(0, -2), `${own.slice(0, -1)}>`] : [own];
  }

  /** Questions for the sentinel of an address, or of a key of capabilities. Undefined for addresses that nodes cannot bind. */
  question(address: string): string | undefined {
    const [capability] = capabilitiesIn(address);
    if (capability !== undefined) return this.#capability(capability);
    const parsed = tryParseAddress(address);
    if (parsed?.host === undefined || parsed.path !== undefined) return undefined;
    return `${this.#root}.a.${hostTokens(parsed.participant, parsed.host)}`;
  }

  /**
   * Subjects on which a sentinel answers for an address that it serves, or for the key of one capability. A pool needs two: one for its own
   * host and one for the hosts below it. Labels are in reverse order, so that one wildcard matches all of these.
   */
  served(address: string): string[] {
    const [capability] = capabilitiesIn(address);
    if (capability !== undefined) return [this.#capability(capability)];
    const parsed = tryParseAddress(address);
    if (parsed?.host === undefined) return [];
    const { host, participant } = parsed;
    if (!host.startsWith('*.')) return [`${this.#root}.a.${hostTokens(participant, host)}`];
    const own = `${this.#root}.a.${hostTokens(participant, host.slice(2))}`;
    return [own, `${own}.>`];
  }
}

const hostTokens = (participant: string, host: string): string =>
  [participant, ...host.split('.').reverse()].join('.');
