// `fame key`: adds, lists, removes and rotates the keys of a sentinel. Works on the files of its data directory, also while it runs.
// The secret of a key is printed once, when it is made.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  defaultKeysFile,
  KeysChange,
  keysOf,
  type NamedKey,
  nameFault,
  patternFault,
  readKeysFile,
} from '@fame-fabric/sentinel/internal';
import { FabricError, isFabricError, systemClock } from '@fame-fabric/shared';
import { closestMatch, EXIT, formatTable } from '@fame-fabric/shared/internal';
import { findLocalKey, rotateLocalKey, searchDataDirs } from '@fame-fabric/shared/node';
import { readClientConfig } from '../config.ts';
import { readLifetime, textFlag, textFlags } from '../flags.ts';
import { writeNote, writeOut } from '../output.ts';
import { readRole } from '../role-flag.ts';
import { UsageError, type VerbInput } from '../verb.ts';

const ACTIONS = ['add', 'ls', 'rm', 'rotate'] as const;
/** Flags that only some actions take. */
const FLAGS: Readonly<Record<string, readonly string[]>> = {
  role: ['add'],
  allow: ['add'],
  expires: ['add', 'rotate'],
  overlap: ['rotate'],
  json: ['ls', 'add', 'rotate'],
};
const RESTART = 'A running sentinel asks nodes and clients for a key only after its next start.';

export async function run(input: VerbInput): Promise<number> {
  const [action, name, ...others] = input.positionals;
  checkUsage(input, action, name, others);
  if (action === 'rotate' && name === 'local') return rotateLocal(input);
  const file = keysFileOf(input);
  const keys = new KeysChange(file, systemClock);
  try {
    if (action === 'add') return await add(keys, file, name!, input);
    if (action === 'rm') return await remove(keys, file, name!);
    if (action === 'rotate') return await rotate(keys, name!, input);
    return list(file, input);
  } catch (error) {
    throw explain(error, file);
  }
}

function checkUsage(
  { flags }: VerbInput,
  action: string | undefined,
  name: string | undefined,
  others: readonly string[],
): void {
  if (action === undefined || !ACTIONS.some((one) => one === action)) {
    const match = closestMatch(action ?? '', ACTIONS);
    throw new UsageError(
      `the actions of key are ${ACTIONS.join(', ')}, not "${action}"${match ? `; did you mean ${match}?` : ''}`,
    );
  }
  if (action === 'ls' && name !== undefined) throw new UsageError('key ls takes no name');
  if (action !== 'ls' && name === undefined) throw new UsageError(`key ${action} takes the name of a key`);
  if (others.length > 0) throw new UsageError(`key ${action} takes one name, not "${others[0]}" as well`);
  for (const [flag, actions] of Object.entries(FLAGS)) {
    if (flags[flag] !== undefined && !actions.includes(action))
      throw new UsageError(`key ${action} takes no --${flag}`);
  }
}

/** FAME_KEYS_FILE, else `keys` in the data directory: the one that is set, or the nearest .fame upwards, or a new one here. */
function keysFileOf({ env }: VerbInput): string {
  const { keysFile, token } = readClientConfig(env);
  if (keysFile !== undefined) return keysFile;
  const { dataDir } = token;
  const found = searchDataDirs(dataDir, (directory) => (existsSync(directory) ? directory : undefined));
  return defaultKeysFile(found ?? dataDir ?? '.fame');
}

async function add(keys: KeysChange, file: string, name: string, input: VerbInput): Promise<number> {
  const fault = nameFault(name);
  if (fault !== undefined) throw new UsageError(`${fault}: "${name}"`);
  const allow = textFlags(input, 'allow');
  for (const pattern of allow) {
    const wrong = patternFault(pattern);
    if (wrong !== undefined) throw new UsageError(`--allow: ${wrong}`);
  }
  const lifetimeMs = readLifetime(textFlag(input, 'expires'), '--expires');
  const { token, key, isFirst } = await keys.add({
    name,
    role: readRole(textFlag(input, 'role') ?? 'client'),
    expiresAt: lifetimeMs === undefined ? undefined : systemClock.now() + lifetimeMs,
    allow: allow.length === 0 ? undefined : allow,
  });
  writeKey(token, key, input);
  writeNote(
    `The key is shown this once; ${file} has its digest only. Programs send it with FAME_ADMISSION_TOKEN_FILE.\n`,
  );
  if (!isFirst) return EXIT.ok;
  writeNote(
    findLocalKey(dirname(file)) === undefined
      ? `It is the first key, and no sentinel has used ${dirname(file)} yet. A sentinel with this FAME_DATA_DIR will ask nodes and clients for a key.\n`
      : `It is the first key. ${RESTART}\n`,
  );
  return EXIT.ok;
}

async function remove(keys: KeysChange, file: string, name: string): Promise<number> {
  const rest = await keys.remove(name);
  writeOut(`The key "${name}" was removed. A running sentinel closes its nodes within 5 s.\n`);
  if (rest === 0) {
    writeNote(
      `${file} has no keys now. A running sentinel still asks for a key; from its next start it does not.\n`,
    );
  }
  return EXIT.ok;
}

async function rotate(keys: KeysChange, name: string, input: VerbInput): Promise<number> {
  const overlapMs = readLifetime(textFlag(input, 'overlap'), '--overlap') ?? 0;
  const lifetimeMs = readLifetime(textFlag(input, 'expires'), '--expires');
  const { token, key } = await keys.rotate(name, { overlapMs, lifetimeMs });
  writeKey(token, key, input);
  writeNote(
    overlapMs === 0
      ? 'The old key is no longer valid: a running sentinel closes its nodes within 5 s.\n'
      : `The old key is valid until ${timeText(systemClock.now() + overlapMs)} UTC.\n`,
  );
  return EXIT.ok;
}

// The key alone goes to standard output, so that it can be written to a file.
function writeKey(token: string, key: NamedKey, { flags }: VerbInput): void {
  writeOut(flags.json ? `${JSON.stringify({ ...viewOf(key), key: token })}\n` : `${token}\n`);
}

function list(file: string, { flags }: VerbInput): number {
  const keys = keysOf(readKeysFile(file));
  if (flags.json) {
    writeOut(`${JSON.stringify(keys.map(viewOf))}\n`);
    return EXIT.ok;
  }
  if (keys.length === 0) {
    writeNote(`${file} has no keys. \`npx fame-fabric key add NAME\` adds one.\n`);
    return EXIT.ok;
  }
  const now = systemClock.now();
  const rows = keys.map(({ name, role, id, createdAt, expiresAt, allow }) => [
    name,
    role,
    id,
    timeText(createdAt),
    expiresAt === undefined ? 'never' : `${timeText(expiresAt)}${expiresAt <= now ? ' (expired)' : ''}`,
    allow?.join(' ') ?? '',
  ]);
  writeOut(`${formatTable(['NAME', 'ROLE', 'ID', 'CREATED', 'EXPIRES', 'ALLOW'], rows)}\n`);
  return EXIT.ok;
}

const timeText = (time: number): string => new Date(time).toISOString().slice(0, 16).replace('T', ' ');

const viewOf = ({ name, role, id, createdAt, expiresAt, allow }: NamedKey) => ({
  name,
  role,
  id,
  created: new Date(createdAt).toISOString(),
  expires: expiresAt === undefined ? undefined : new Date(expiresAt).toISOString(),
  allow,
});

// The system's error does not name the file or a fix.
function explain(error: unknown, file: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (isFabricError(error) || error instanceof UsageError || typeof code !== 'string') return error;
  const text = `The keys file ${file} cannot be used: ${code}. Run the command as the user of the sentinel, or set FAME_KEYS_FILE or FAME_DATA_DIR.`;
  return new FabricError('CONFIG_INVALID', text, { cause: error });
}

function rotateLocal({ env, flags }: VerbInput): number {
  if (flags.overlap !== undefined || flags.expires !== undefined)
    throw new UsageError('key rotate local takes no --overlap and no --expires');
  const file = findLocalKey(readClientConfig(env).token.dataDir);
  if (file === undefined) {
    writeNote(
      'There is no local key here. Run the command where the sentinel was started, or set FAME_DATA_DIR to its data directory. A sentinel creates the key when it starts.\n',
    );
    return EXIT.failure;
  }
  rotateLocalKey(dirname(file));
  writeOut(
    `The key in ${file} was replaced. A running sentinel now refuses the old key, and closes the nodes that sent it within 5 s. Nodes that read this file attach again by themselves. Replace other copies, such as the one in FAME_ADMISSION_TOKEN.\n`,
  );
  return EXIT.ok;
}
