// Encryption of an agent's state and of its inbox at rest: AES-256-GCM with a master key. The place of a text (agent, kind, key) is
// authenticated with it, so that a text cannot be moved to another place. The first key encrypts; the others only read, so a new
// key is put in front and the old ones stay until nothing is encrypted with them.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import type { SealedText } from '../../store/agent-store.ts';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Place of a text in the store. */
export interface SealedPlace {
  readonly agent: string;
  readonly kind: 'state' | 'params' | 'outcome';
  /** Key of the entry, or id of the request. */
  readonly key: string;
}

/** Form of a master key, for faults. */
export const MASTER_KEY_FORM =
  '32 random bytes in base64 or hexadecimal, such as the output of `openssl rand -base64 32`; several keys are separated by commas';

/**
 * Reads master keys: each has 32 bytes in base64, base64url or hexadecimal. Returns `undefined` if one has another form.
 * @param text keys separated by commas, the one that encrypts first
 */
export function readMasterKeys(text: string): Uint8Array[] | undefined {
  const keys: Uint8Array[] = [];
  for (const one of text.split(',')) {
    const isHex = /^[0-9a-f]{64}$/i.test(one);
    if (!isHex && !/^[A-Za-z0-9+/_-]{43}=?$/.test(one)) return undefined;
    keys.push(Buffer.from(one, isHex ? 'hex' : 'base64'));
  }
  return keys.length > 0 && keys.every((key) => key.length === KEY_BYTES) ? keys : undefined;
}

export class StateKeys {
  /** By id, the one that encrypts first. */
  readonly #keys = new Map<string, KeyObject>();
  readonly #first: string | undefined;

  /** @param keys of 32 bytes each, the one that encrypts first; none to store plain texts */
  constructor(keys: readonly Uint8Array[] = []) {
    for (const key of keys) {
      if (key.length !== KEY_BYTES) throw new RangeError(`A master key has ${KEY_BYTES} bytes.`);
      this.#keys.set(idOf(key), createSecretKey(key));
    }
    [this.#first] = this.#keys.keys();
  }

  /** Encrypts a text with the first key, or returns it as it is if there is none. */
  seal(text: string, place: SealedPlace): SealedText {
    const keyId = this.#first;
    if (keyId === undefined) return { text, keyId: '' };
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(ALGORITHM, this.#keys.get(keyId)!, nonce).setAAD(placeBytes(keyId, place));
    const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return { text: sealed.toString('base64'), keyId };
  }

  /**
   * Decrypts a text of the store.
   * @throws {STATE_KEY_MISSING} if its key is not one of these
   * @throws {STORE_UNAVAILABLE} if the text was changed in the store
   */
  open({ text, keyId }: SealedText, place: SealedPlace): string {
    if (keyId === '') return text;
    const key = this.#keys.get(keyId);
    if (!key) throw this.#missing(place.agent, [keyId]);
    const sealed = Buffer.from(text, 'base64');
    try {
      const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, NONCE_BYTES))
        .setAAD(placeBytes(keyId, place))
        .setAuthTag(sealed.subarray(-TAG_BYTES));
      const end = decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES));
      return Buffer.concat([end, decipher.final()]).toString('utf8');
    } catch (cause) {
      throw new FabricError(
        'STORE_UNAVAILABLE',
        `An encrypted value of ${place.agent} was changed in the store. Restore it from a backup, or write it again.`,
        { cause },
      );
    }
  }

  /** @throws {STATE_KEY_MISSING} if one of the ids is not that of one of these keys */
  assertKnown(agent: string, ids: readonly string[]): void {
    const unknown = ids.filter((id) => !this.#keys.has(id));
    if (unknown.length > 0) throw this.#missing(agent, unknown);
  }

  #missing(agent: string, ids: readonly string[]): FabricError {
    const which = ids.length === 1 ? `the key ${ids[0]}` : `the keys ${ids.join(', ')}`;
    const given = [...this.#keys.keys()].join(', ') || 'none';
    return new FabricError(
      'STATE_KEY_MISSING',
      `The store has data of ${agent} that is encrypted with ${which}. Given keys: ${given}. Add the missing key to FAME_STATE_MASTER_KEY, after the current one. Nothing was changed.`,
    );
  }
}

/** Names a key without revealing it. */
const idOf = (key: Uint8Array): string =>
  createHash('sha256').update('fame-fabric state key\n').update(key).digest('hex').slice(0, 16);

const placeBytes = (keyId: string, { agent, kind, key }: SealedPlace): Buffer =>
  Buffer.from(JSON.stringify([keyId, kind, agent, key]));
