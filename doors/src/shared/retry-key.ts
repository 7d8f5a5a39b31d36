// Recognition of repeated requests. The official OpenAI clients repeat a failed request with a count in a header and without a key, so
// the request itself is the key. A client that sends `Idempotency-Key` names the request.
import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { FabricError, newId } from '@fame-fabric/shared';

export interface RepeatedRequest {
  readonly headers: IncomingHttpHeaders;
  /** Distinguishes callers. */
  readonly principal: string;
  readonly path: string;
  readonly body: unknown;
}

export interface Retry {
  /** Equal for requests that may be repetitions of one: the `retry_key` of the turn. */
  readonly key: string;
  /** The `retry_count` of the turn: 0 runs a new turn; a higher number joins the latest turn with the key. */
  readonly count: number;
  /** Hash of the body. */
  readonly body: string;
}

const MAX_KEY_CHARS = 256;
const MAX_COUNT = 1_000_000;

/** Reads the retry key and count of a request. @throws {PARAMS_INVALID} for an `Idempotency-Key` that is too long */
export function retryOf({ headers, principal, path, body }: RepeatedRequest): Retry {
  const named = headers['idempotency-key'];
  const bodyHash = hash('body', canonical(body));
  const count = countOf(headers['x-stainless-retry-count']);
  if (typeof named !== 'string' || named === '') {
    return { key: hash('request', principal, path, bodyHash), count, body: bodyHash };
  }
  if (named.length > MAX_KEY_CHARS) {
    throw new FabricError(
      'PARAMS_INVALID',
      `Idempotency-Key: It has more than ${MAX_KEY_CHARS} characters.`,
      {
        details: { param: 'Idempotency-Key' },
      },
    );
  }
  return { key: hash('key', principal, path, named), count: Math.max(1, count), body: bodyHash };
}

function countOf(header: string | string[] | undefined): number {
  const count = typeof header === 'string' && /^\d{1,7}$/.test(header) ? Number(header) : 0;
  return Math.min(count, MAX_COUNT);
}

/** The parts of a turn id that a door creates. The key finds the turn again, and the hash of the body detects another request with the same key. */
export interface TurnName {
  readonly key: string;
  readonly body: string;
  /** True if the request brought a history. */
  readonly hasHistory: boolean;
  /** Distinguishes the turns of one key. */
  readonly random: string;
}

/** Writes a new id for the turn of a request. */
export const newTurnId = ({ key, body }: Retry, hasHistory: boolean, random: string = newId()): string =>
  `d${hasHistory ? 'h' : 'm'}.${key}.${body}.${random}`;

/** Reads an id of `newTurnId`; undefined for another one. */
export function readTurnId(turnId: string): TurnName | undefined {
  const [, history, key, body, random] = /^d([hm])\.([\w-]{22})\.([\w-]{22})\.(\w{1,64})$/.exec(turnId) ?? [];
  if (key === undefined || body === undefined || random === undefined) return undefined;
  return { key, body, random, hasHistory: history === 'h' };
}

/** Hash of texts, of 22 characters of base64url. */
export const hash = (...parts: readonly string[]): string =>
  createHash('sha256')
    .update(parts.map((part) => `${part.length}:${part}`).join(''))
    .digest('base64url')
    .slice(0, 22);

/**
 * Returns the same text for equal JSON values with any order of keys, because a proxy may serialize the body again. The text is not JSON:
 * escaping a body of 1 MiB takes several ms, in which the sentinel forwards nothing.
 */
function canonical(value: unknown): string {
  const parts: string[] = [];
  try {
    addCanonical(value, parts);
  } catch (cause) {
    throw new FabricError('PARAMS_INVALID', 'The body is nested too deeply.', { cause });
  }
  return parts.join('');
}

function addCanonical(value: unknown, parts: string[]): void {
  if (typeof value === 'string') parts.push(`"${value.length}:`, value);
  else if (typeof value !== 'object' || value === null) parts.push(`${value},`);
  else if (Array.isArray(value)) {
    parts.push(`[${value.length}:`);
    for (const item of value) addCanonical(item, parts);
  } else {
    const keys = Object.keys(value).sort();
    parts.push(`{${keys.length}:`);
    for (const key of keys) {
      parts.push(`${key.length}:`, key);
      addCanonical((value as Record<string, unknown>)[key], parts);
    }
  }
}
