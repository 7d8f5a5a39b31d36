// The rules that all sentinels of a cluster share: the policy, and the keys that were removed. Each sentinel reads them from JetStream when
// it joins, every two seconds, and when another one announces a change. A changed policy file replaces the policy of the cluster, and a key
// that is removed from one keys file is refused everywhere. NATS is trusted like a sentinel: a program that can publish there can change the
// rules.
//
// Invariants: S1 a policy that another one has replaced never returns because a sentinel starts with an old file. S2 a change that could
// not be written is written later. S3 after a wipe of JetStream the sentinels write the rules again, also if one that does not know all
// of them writes first.
import { createHash } from 'node:crypto';
import type { Logger } from '@fame-fabric/shared';
import { errorMessage } from '@fame-fabric/shared/internal';
import type { ClusterPolicy, SharedPolicy } from '../access/policy/cluster-policy.ts';
import type { RefusedFrom, RevokedKeys } from '../access/revoked-keys.ts';

/** The port to the shared texts: each has a name and a revision. `kv-owners.ts` implements it. Every function rejects while JetStream is away. */
export interface SharedTexts {
  /** The revision is 0 if the text was never written. */
  text(name: string): Promise<{ readonly text: string | undefined; readonly revision: number }>;
  /** Writes a text. Resolves `false` if it has another revision. */
  putText(name: string, text: string, revision: number): Promise<boolean>;
}

export interface SharedRulesDeps {
  /** Id of this sentinel. */
  id: string;
  texts: SharedTexts;
  policy: ClusterPolicy;
  revokedKeys: RevokedKeys;
  /** Announces a change to the other sentinels. */
  announce: () => void;
  /** Puts the rules into force: ends sessions, addresses and calls that they no longer allow. */
  enforce: () => void;
  log: Logger;
}

const POLICY = 'policy';
const KEYS = 'refused-keys';
/** Attempts to write a text that other sentinels write, too. The next beat tries again. */
const MAX_ATTEMPTS = 4;
/** Maximum number of keys in the text. Beyond it the oldest one is dropped. A keys file has room for about 4,000 keys. */
const MAX_KEYS = 8_192;
/** Maximum number of replaced policies whose digests are kept. */
const MAX_EARLIER = 256;

interface PolicyRecord extends SharedPolicy {
  /** Digests of the policies that it replaced, newest first. */
  readonly earlier: readonly string[];
}

export class SharedRules {
  readonly #deps: SharedRulesDeps;
  /** The last record of the policy, for the next one after a wipe. */
  #record: PolicyRecord | undefined;
  #hasJoined = false;
  #isRunning = false;
  #isWanted = false;
  /** Reason of the last failure, which is logged once. */
  #reason: string | undefined;

  constructor(deps: SharedRulesDeps) {
    this.#deps = deps;
  }

  /** Reads the rules, and writes the changes of this sentinel. Rejects while JetStream is away. */
  async sync(): Promise<void> {
    this.#isWanted = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#isWanted) {
        this.#isWanted = false;
        const isNew = await this.#syncKeys();
        const isOther = await this.#syncPolicy();
        if (isNew || isOther) this.#deps.enforce();
      }
      this.#hasJoined = true;
      this.#reason = undefined;
    } finally {
      this.#isRunning = false;
    }
  }

  // Returns true if other keys are refused now.
  async #syncKeys(): Promise<boolean> {
    const { announce, log, revokedKeys, texts } = this.#deps;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { version } = revokedKeys;
      const { text, revision } = await texts.text(KEYS);
      const changes = new Map(revokedKeys.changes);
      const shared = readKeys(text);
      // No key is ever taken out of the text, so one that lacks known keys was begun after a wipe of JetStream.
      const keys = new Map([...revokedKeys.all, ...shared]);
      const isIncomplete = keys.size > shared.size && shared.size < MAX_KEYS;
      for (const [key, from] of changes) {
        keys.delete(key);
        keys.set(key, from);
      }
      while (keys.size > MAX_KEYS) keys.delete(keys.keys().next().value!);
      if (changes.size > 0 || isIncomplete) {
        if (!(await texts.putText(KEYS, JSON.stringify([...keys]), revision))) continue;
        announce();
        if (changes.size > 0)
          log.info('sent the changes of the keys file to the cluster', { keys: changes.size });
      }
      revokedKeys.replace(keys, changes);
      return revokedKeys.version !== version;
    }
    return false;
  }

  // Returns true if another policy is in force with the next check.
  async #syncPolicy(): Promise<boolean> {
    const { policy, texts } = this.#deps;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { text, revision } = await texts.text(POLICY);
      const record = text === undefined ? undefined : readRecord(text);
      const next = this.#nextText(record);
      if (next !== undefined && next !== record?.text) {
        if (!(await this.#put(next, record, revision))) continue;
        policy.sent(next);
        return false;
      }
      if (next !== undefined) policy.sent(next);
      if (record === undefined) return false;
      this.#record = record;
      return record.text !== policy.text && (await policy.adopt(record));
    }
    return false;
  }

  // The policy that this sentinel writes, if it does.
  #nextText(record: PolicyRecord | undefined): string | undefined {
    const { log, policy } = this.#deps;
    if (policy.unsentText !== undefined) return policy.unsentText;
    if (record === undefined) return policy.text;
    if (this.#isReplaced(record)) return this.#record?.text;
    if (this.#hasJoined || policy.ownText === undefined || policy.ownText === record.text) return undefined;
    if (!record.earlier.includes(digestOf(policy.ownText))) return policy.ownText;
    log.warn('the policy file is an earlier policy of the cluster, so it is not in force; update the file', {
      sentinel: record.sentinel,
    });
    return undefined;
  }

  // True for a policy that the present one has replaced: a sentinel that was away wrote it after a wipe.
  #isReplaced(record: PolicyRecord): boolean {
    if (this.#record === undefined || this.#record.text === record.text) return false;
    const isEarlier = this.#record.earlier.includes(digestOf(record.text));
    return isEarlier && !record.earlier.includes(digestOf(this.#record.text));
  }

  async #put(text: string, replaced: PolicyRecord | undefined, revision: number): Promise<boolean> {
    const { announce, id, log, texts } = this.#deps;
    const digest = digestOf(text);
    // After a wipe of JetStream, the record of this sentinel has policies that the present one lacks.
    const earlier = [replaced, this.#record].flatMap((one) =>
      one === undefined ? [] : [digestOf(one.text), ...one.earlier],
    );
    const record: PolicyRecord = {
      sentinel: id,
      text,
      earlier: [...new Set(earlier)].filter((one) => one !== digest).slice(0, MAX_EARLIER),
    };
    if (!(await texts.putText(POLICY, JSON.stringify(record), revision))) return false;
    this.#record = record;
    announce();
    log.info('sent the policy to the cluster');
    return true;
  }

  /** Logs that the rules could not be shared. The next beat tries again. */
  failed(error: unknown): void {
    const reason = errorMessage(error);
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#deps.log.warn('could not read or write the rules of the cluster', { reason });
  }
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 22);

function readKeys(text: string | undefined): RefusedFrom {
  const entries = text === undefined ? undefined : parse(text);
  if (!Array.isArray(entries)) return new Map();
  return new Map(
    entries.filter(
      (entry): entry is [string, number | null] =>
        Array.isArray(entry) &&
        typeof entry[0] === 'string' &&
        (typeof entry[1] === 'number' || entry[1] === null),
    ),
  );
}

function readRecord(text: string): PolicyRecord | undefined {
  const { sentinel, text: policy, earlier } = (parse(text) ?? {}) as Partial<PolicyRecord>;
  const isValid = typeof sentinel === 'string' && typeof policy === 'string' && Array.isArray(earlier);
  return isValid
    ? { sentinel, text: policy, earlier: earlier.filter((one) => typeof one === 'string') }
    : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not written by a sentinel: the next change replaces it.
    return undefined;
  }
}
