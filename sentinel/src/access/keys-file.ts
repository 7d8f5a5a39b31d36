// The keys file: one key a line, as a JSON object with the digest of its secret. Lines that are empty or begin with # are kept.
// Sentinels read it, and `fame key` changes it (`keys-change.ts`). A key has the text `fk_<id>_<secret>`; the file has no secret.
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Role } from '@fame-fabric/shared';
import { closestMatch } from '@fame-fabric/shared/internal';
import { FabricError, isOpenToOthers, isTrusted } from '@fame-fabric/shared/router';
import { ROLES } from './policy/actions.ts';
import { allowFault } from './policy/allow-list.ts';

/** One secret of a key. A key that is being rotated has two, with the same name. */
export interface NamedKey {
  /** Id of the principal. */
  readonly name: string;
  /** Part of the key that selects its line. It is not secret. */
  readonly id: string;
  /** SHA-256 of the secret, in hexadecimal digits. */
  readonly sha256: string;
  readonly role: Role;
  /** Wall time in ms. */
  readonly createdAt: number;
  /** Wall time in ms. @default it does not expire */
  readonly expiresAt?: number | undefined;
  /** Restricts the key to these addresses. @default as its role permits */
  readonly allow?: readonly string[] | undefined;
}

/** A line of the file: a key, or text that is kept. */
export type KeysLine = { readonly key: NamedKey } | { readonly text: string };

/** A larger file is refused. It has room for some 4,000 keys. */
const MAX_BYTES = 1_048_576;
const MAX_ALLOW = 64;
const MAX_ALLOW_CHARS = 256;
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const RESERVED = new Set(['anonymous', 'local']);
const KEY = /^fk_([0-9a-f]{12})_([\w-]{43})$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;
/** Permission bits of the group and of others. */
const OTHERS_WRITE = 0o022;

/** Path of the keys file of a data directory. */
export const defaultKeysFile = (dataDir: string): string => join(dataDir, 'keys');

/** Splits a key into its id and its secret. Returns undefined if `token` is no key of a keys file. */
export function partsOfKey(token: string): { id: string; secret: string } | undefined {
  const [, id, secret] = KEY.exec(token) ?? [];
  return id === undefined || secret === undefined ? undefined : { id, secret };
}

export const digestOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Returns the fault of a name, or undefined. */
export function nameFault(name: string): string | undefined {
  if (RESERVED.has(name)) return `the name "${name}" is reserved`;
  return NAME.test(name)
    ? undefined
    : 'a name has 1 to 64 lower-case letters, digits, dots, underscores and hyphens, and begins with a letter or a digit';
}

/** Returns the fault of a pattern of `--allow`, or undefined: `*@fame.fabric`, or with an action `Call:*@fame.fabric`. */
export function patternFault(pattern: string): string | undefined {
  const isText = /^[\x21-\x7e]+$/.test(pattern) && pattern.length <= MAX_ALLOW_CHARS;
  const fault = isText ? allowFault(pattern) : 'a pattern has 1 to 256 characters without blanks';
  if (fault !== undefined) return `"${pattern.slice(0, 80)}": ${fault}`;
  return pattern.includes('@') || pattern.includes('**')
    ? undefined
    : `"${pattern}" is not a pattern of addresses, such as chat@fame.fabric or *@fame.fabric`;
}

/**
 * Reads the keys file. Returns no lines if there is none.
 * @throws {CONFIG_INVALID} naming the line of the first fault, or if another user could change the file
 * @throws the system's error
 */
export function readKeysFile(file: string): readonly KeysLine[] {
  let text: string;
  try {
    const { mode, size, uid } = statSync(file);
    if (!isTrusted(uid)) throw invalid(file, 'belongs to another user, who could add keys to it');
    if ((mode & OTHERS_WRITE) !== 0)
      throw invalid(file, 'can be written by other users, who could add keys to it: chmod 600');
    if (size > MAX_BYTES) throw invalid(file, `has more than ${MAX_BYTES} bytes`);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    // ENOTDIR: the data directory is below a file. Its own check reports that.
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw error;
  }
  return parseKeys(text, file);
}

/** Makes the file private to its owner. Returns true if other users could read or write it. */
export function makeKeysFilePrivate(file: string): boolean {
  const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
  if (!isOpenToOthers(mode)) return false;
  try {
    chmodSync(file, 0o600);
  } catch {
    // The file belongs to another user or is on a read-only mount. `readKeysFile` refuses one that others can write.
  }
  return true;
}

/** Parses the text of a keys file. @throws {CONFIG_INVALID} naming the line of the first fault */
export function parseKeys(text: string, file: string): readonly KeysLine[] {
  const ids = new Map<string, number>();
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line, i) => {
    if (line.trim() === '' || line.startsWith('#')) return { text: line };
    const key = parseKey(line, (fault) => invalid(`${file}:${i + 1}`, fault));
    const earlier = ids.get(key.id);
    if (earlier !== undefined)
      throw invalid(`${file}:${i + 1}`, `has the id "${key.id}" of line ${earlier} again`);
    ids.set(key.id, i + 1);
    return { key };
  });
}

/** Text of a keys file with these lines. */
export const keysText = (lines: readonly KeysLine[]): string =>
  lines.map((line) => `${'key' in line ? lineOf(line.key) : line.text}\n`).join('');

/** The keys among the lines. */
export const keysOf = (lines: readonly KeysLine[]): readonly NamedKey[] =>
  lines.flatMap((line) => ('key' in line ? [line.key] : []));

const lineOf = ({ name, id, role, createdAt, expiresAt, allow, sha256 }: NamedKey): string =>
  JSON.stringify({
    name,
    role,
    allow,
    created: new Date(createdAt).toISOString(),
    expires: expiresAt === undefined ? undefined : new Date(expiresAt).toISOString(),
    id,
    sha256,
  });

type Fields = Readonly<Record<string, unknown>>;
type FaultOf = (fault: string) => FabricError;

const FIELDS = ['name', 'role', 'allow', 'created', 'expires', 'id', 'sha256'];

function parseKey(line: string, faultOf: FaultOf): NamedKey {
  const fields = parseObject(line, faultOf);
  // An unknown field may be a restriction of a newer version, so it is not ignored.
  for (const field of Object.keys(fields)) {
    if (FIELDS.includes(field)) continue;
    const match = closestMatch(field, FIELDS);
    throw faultOf(
      `has the unknown field "${field.slice(0, 40)}"${match ? `; did you mean "${match}"?` : ''}`,
    );
  }
  const text = (field: string, pattern: RegExp, expected: string): string => {
    const value = fields[field];
    if (typeof value === 'string' && pattern.test(value)) return value;
    throw faultOf(`has the ${field} ${shown(value)}; expected ${expected}`);
  };
  const name = text('name', /./, 'a text');
  const fault = nameFault(name);
  if (fault !== undefined) throw faultOf(`has a wrong name: ${fault}`);
  return {
    name,
    id: text('id', /^[0-9a-f]{12}$/, '12 hexadecimal digits'),
    sha256: text('sha256', /^[0-9a-f]{64}$/, '64 hexadecimal digits'),
    role: roleOf(fields, faultOf),
    createdAt: Date.parse(text('created', TIME, 'a time such as 2026-11-29T12:00:00Z')),
    expiresAt:
      fields.expires === undefined
        ? undefined
        : Date.parse(text('expires', TIME, 'a time such as 2026-12-29T12:00:00Z')),
    allow: allowOf(fields, faultOf),
  };
}

function parseObject(line: string, faultOf: FaultOf): Fields {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  } catch {
    // The message of the parser would quote the line.
  }
  throw faultOf('is not a JSON object');
}

function roleOf({ role }: Fields, faultOf: FaultOf): Role {
  const known = ROLES.find((one) => one === role);
  if (known !== undefined) return known;
  const match = typeof role === 'string' ? closestMatch(role, ROLES) : undefined;
  throw faultOf(
    `has the role ${shown(role)}; expected ${ROLES.join(', ')}${match ? `. Did you mean ${match}?` : ''}`,
  );
}

function allowOf({ allow }: Fields, faultOf: FaultOf): readonly string[] | undefined {
  if (allow === undefined) return undefined;
  if (!Array.isArray(allow) || allow.length > MAX_ALLOW)
    throw faultOf(`has no valid allow: expected a list of at most ${MAX_ALLOW} patterns of addresses`);
  for (const pattern of allow as unknown[]) {
    const fault = typeof pattern === 'string' ? patternFault(pattern) : `${shown(pattern)} is not a text`;
    if (fault !== undefined) throw faultOf(`has a wrong pattern in allow: ${fault}`);
  }
  return Object.freeze([...(allow as string[])]);
}

const shown = (value: unknown): string => (JSON.stringify(value) ?? '(none)').slice(0, 80);

const invalid = (what: string, fault: string): FabricError =>
  new FabricError('CONFIG_INVALID', `The keys file ${what} ${fault}.`);
