// `fame conversations ls | show ID | export ID | rm ID | restore ID | sweep | backup FILE | restore-backup FILE`: works on the
// store of this machine or of FAME_STORE_URL, even while an agent uses it. With --from it asks a running agent instead. Data goes to stdout, messages
// to stderr. Texts of models and users are escaped before they are printed.
import { once } from 'node:events';
import {
  type ConversationStore,
  exportConversation,
  type ListedConversation,
  listConversations,
  removeConversation,
  restoreConversation,
  showConversation,
  storePath,
  sweepConversations,
  trashConversation,
} from '@fame-fabric/agents/internal';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { FabricError, isFabricError, systemClock } from '@fame-fabric/shared';
import {
  closestMatch,
  cutText,
  type Environment,
  EXIT,
  escapeLine,
  formatTable,
  printableJson,
} from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';
import { findStore } from '../find-store.ts';
import { textFlag } from '../flags.ts';
import { DockerMark } from '../local/docker.ts';
import { openFoundStore } from '../open-found-store.ts';
import { onStdoutClosed, writeMessage } from '../output.ts';
import { reportFault } from '../report-fault.ts';
import type { VerbInput } from '../verb.ts';
import { runBackup, runRestoreBackup } from './backup-conversations.ts';
import {
  type Output,
  openRemoteConversations,
  type Print,
  type RemoteConversations,
  readRemote,
} from './remote-conversations.ts';
import { stateText, transcriptOf } from './transcript-text.ts';

export interface ConversationsOptions {
  json: boolean;
  /** Lists the trash. @default false */
  trash?: boolean | undefined;
  /** Skips the trash, or empties it. @default false */
  now?: boolean | undefined;
  /** Address of a running agent to read from instead of the store. */
  from?: string | undefined;
  /** Only conversations of `from` whose last turn failed. @default false */
  failed?: boolean | undefined;
  /** Only conversations of `from` with this text. */
  search?: string | undefined;
  env: Environment;
  /** Receives data. @default stdout */
  print?: Print | undefined;
  /** Receives messages for people. @default stderr */
  write?: ((message: string) => void) | undefined;
  /** Opens the conversations of `from`. @default by attaching to the sentinel */
  openRemote?: (() => Promise<RemoteConversations>) | undefined;
}

const FLAGS = ['trash', 'now', 'from', 'failed', 'search'] as const;
type Flag = (typeof FLAGS)[number];

/** The argument of each action, and the flags that it takes. */
const ACTIONS: Readonly<Record<string, { takes: 'id' | 'file' | undefined; flags: readonly Flag[] }>> = {
  ls: { takes: undefined, flags: ['trash', 'from', 'failed', 'search'] },
  show: { takes: 'id', flags: ['from'] },
  export: { takes: 'id', flags: ['from'] },
  rm: { takes: 'id', flags: ['now'] },
  restore: { takes: 'id', flags: [] },
  sweep: { takes: undefined, flags: ['now'] },
  backup: { takes: 'file', flags: [] },
  'restore-backup': { takes: 'file', flags: [] },
};
const MISSING_ARGUMENTS = { id: 'the id of a conversation', file: 'the name of a file' };
const USAGE =
  'Usage: npx fame-fabric conversations ls [--trash] | show ID | export ID | rm ID [--now] | restore ID | sweep [--now] [--json]\n' +
  '       npx fame-fabric conversations backup FILE | restore-backup FILE [--json]\n' +
  '       npx fame-fabric conversations ls [--failed] [--search TEXT] | show ID | export ID, each with --from ADDRESS [--json]';
const IN_DOCKER =
  'The fabric runs in Docker and has its store there. To ask its agent: npx fame-fabric conversations ls --from chat@fame.fabric';
const NO_BACKUP =
  'FAME_STORE_URL names a PostgreSQL database, and this command backs up files. Use pg_dump and pg_restore of PostgreSQL.';
const MAX_LISTED = 1_000;
const MAX_IDS_SHOWN = 5;
const DAY_MS = 86_400_000;

export function run(input: VerbInput): Promise<number> {
  const { positionals, flags, env } = input;
  return runConversations(positionals, {
    json: flags.json === true,
    trash: flags.trash === true,
    now: flags.now === true,
    from: textFlag(input, 'from'),
    failed: flags.failed === true,
    search: textFlag(input, 'search'),
    env,
  });
}

/** Runs one action. Resolves to its exit code: 0, 1 for a failure, 2 for wrong usage or configuration. */
export async function runConversations(
  words: readonly string[],
  options: ConversationsOptions,
): Promise<number> {
  const {
    json,
    trash = false,
    now = false,
    from,
    env,
    print = stdoutPrint(),
    write = writeMessage,
  } = options;
  const [action = 'ls', argument, ...more] = words;
  const fault = usageFault(action, argument, more) ?? flagFault(action, options);
  if (fault !== undefined) {
    write(`${fault}\n${USAGE}`);
    return EXIT.usage;
  }
  const output = { json, print, write };
  if (from !== undefined) {
    const { failed, search, openRemote = () => openRemoteConversations(env, from) } = options;
    await using remote = await openRemote();
    return await readRemote(remote.conversations, { action, id: argument, failed, search }, output);
  }
  let store: ConversationStore | undefined;
  try {
    const config = readAgentConfig(env);
    const isDatabase = config.storeUrl !== undefined;
    const found = isDatabase ? undefined : findStore(env);
    const path = found ?? storePath(config.dataDir);
    if (!isDatabase && !found && new DockerMark(config.dataDir).isSet) write(IN_DOCKER);
    if (action === 'backup' || action === 'restore-backup') {
      if (isDatabase) throw new FabricError('CONFIG_INVALID', NO_BACKUP);
      if (action === 'backup') return await runBackup(found, path, argument!, output);
      return await runRestoreBackup(path, argument!, output);
    }
    store = await openFoundStore(env);
    const place = store?.place ?? path;
    if (action === 'ls') await list(store, place, trash, output);
    else if (!store) throw new FabricError('CONVERSATION_UNKNOWN', `There is no store ${place}.`);
    else if (action === 'sweep') await sweep(store, config.conversationTtlDays, now, output);
    else {
      const opened = store;
      await runOnOne(opened, action, argument!, now, output).catch((error) =>
        explainUnknown(error, opened, action, argument!),
      );
    }
    return EXIT.ok;
  } catch (error) {
    return reportFault(error, write);
  } finally {
    await store?.close();
  }
}

function usageFault(
  action: string,
  argument: string | undefined,
  more: readonly string[],
): string | undefined {
  const quoted = (word: string): string => `"${escapeLine(cutText(word, 64))}"`;
  if (!Object.hasOwn(ACTIONS, action)) {
    const match = closestMatch(action, Object.keys(ACTIONS));
    return `conversations has no action ${quoted(action)}.${match ? ` Did you mean ${match}?` : ''}`;
  }
  const { takes } = ACTIONS[action]!;
  if (takes && argument === undefined) return `conversations ${action} takes ${MISSING_ARGUMENTS[takes]}.`;
  const extra = takes ? more[0] : argument;
  return extra === undefined ? undefined : `conversations ${action} takes no argument ${quoted(extra)}.`;
}

function flagFault(action: string, options: ConversationsOptions): string | undefined {
  const given = FLAGS.filter((flag) => options[flag] !== undefined && options[flag] !== false);
  const wrong = given.find((flag) => !ACTIONS[action]!.flags.includes(flag));
  if (wrong) return `conversations ${action} takes no flag --${wrong}.`;
  if (given.includes('from'))
    return given.includes('trash') ? 'An agent does not list its trash.' : undefined;
  const remoteOnly = given.find((flag) => flag === 'failed' || flag === 'search');
  return remoteOnly && `--${remoteOnly} needs --from ADDRESS.`;
}

async function list(
  store: ConversationStore | undefined,
  path: string,
  inTrash: boolean,
  { json, print, write }: Output,
): Promise<void> {
  const conversations = store ? await listConversations(store, { inTrash, limit: MAX_LISTED }) : [];
  if (json) {
    await print(`${printableJson(conversations, 2)}\n`);
    return;
  }
  const where = inTrash ? 'the trash of ' : '';
  if (!store) write(`There is no store ${path}, so there are no conversations.`);
  else if (conversations.length === 0) write(`There are no conversations in ${where}${path}.`);
  else await print(`${tableOf(conversations, inTrash)}\n`);
  const hasTrash = !inTrash && store && (await store.list({ inTrash: true, limit: 1 })).length > 0;
  if (hasTrash) write('The trash has more: npx fame-fabric conversations ls --trash');
}

async function sweep(
  store: ConversationStore,
  ttlDays: number,
  emptiesTrash: boolean,
  { json, print, write }: Output,
): Promise<void> {
  const expiredBefore = ttlDays > 0 ? systemClock.now() - ttlDays * DAY_MS : undefined;
  const { moved, deleted } = await sweepConversations(store, { expiredBefore, emptiesTrash });
  if (json) {
    await print(`${printableJson({ moved, deleted })}\n`);
    return;
  }
  const movedText = `Moved ${countText(moved, 'conversation')} to the trash, last changed more than ${countText(ttlDays, 'day')} ago.`;
  write(ttlDays === 0 ? 'FAME_CONVERSATION_TTL_DAYS is 0, so no conversation expires.' : movedText);
  if (emptiesTrash) write(`Deleted ${countText(deleted, 'conversation')} from the trash.`);
}

async function runOnOne(
  store: ConversationStore,
  action: string,
  id: string,
  now: boolean,
  { json, print, write }: Output,
): Promise<void> {
  if (action === 'export') {
    for await (const line of exportConversation(store, await wholeId(store, id)))
      await print(`${printableJson(JSON.parse(line))}\n`);
  } else if (action === 'rm') {
    await (now ? removeConversation(store, id) : trashConversation(store, id));
    const shown = escapeLine(id);
    if (json) await print(`${printableJson({ removed: id, inTrash: !now })}\n`);
    else if (now) write(`Removed ${shown}.`);
    else
      write(
        `Moved ${shown} to the trash. To free its space: npx fame-fabric conversations rm ${shown} --now`,
      );
  } else if (action === 'restore') {
    await restoreConversation(store, id);
    if (json) await print(`${printableJson({ restored: id })}\n`);
    else write(`Restored ${escapeLine(id)}.`);
  } else {
    const shown = await showConversation(store, await wholeId(store, id));
    await print(json ? `${printableJson(shown, 2)}\n` : `${transcriptOf(shown)}\n`);
  }
}

/** Adds to the error about an unknown id that the action takes no beginning of one. @throws always */
async function explainUnknown(
  error: unknown,
  store: ConversationStore,
  action: string,
  id: string,
): Promise<never> {
  if (!isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
  const whole = await wholeId(store, id);
  if (whole === id) throw error;
  const text = `${action} takes a whole id, and "${id}" is the beginning of ${whole}.`;
  throw new FabricError('CONVERSATION_UNKNOWN', text);
}

/** Completes the beginning of an id, if it is that of one conversation. @throws {CONVERSATION_UNKNOWN} if it is that of several */
async function wholeId(store: ConversationStore, start: string): Promise<string> {
  const ids = [];
  for (const inTrash of [false, true]) {
    for (const { id } of await store.list({ inTrash, limit: MAX_LISTED }))
      if (id.startsWith(start)) ids.push(id);
  }
  if (ids.length <= 1 || ids.includes(start)) return ids.length === 1 ? ids[0]! : start;
  const shown = ids.slice(0, MAX_IDS_SHOWN).join(', ') + (ids.length > MAX_IDS_SHOWN ? ', ...' : '');
  throw new FabricError(
    'CONVERSATION_UNKNOWN',
    `${countText(ids.length, 'conversation')} begin with "${start}": ${shown}.`,
  );
}

// Waits for a reader that is slower than the store, and exits when the reader is gone, as after `head`.
function stdoutPrint(): Print {
  const { stdout } = process;
  onStdoutClosed(() => process.exit(EXIT.ok));
  return (text) => (stdout.write(text) ? undefined : once(stdout, 'drain'));
}

function tableOf(conversations: readonly ListedConversation[], inTrash: boolean): string {
  const rows = conversations.map(
    ({ id, agent, principal, state, turns, tokens, changedAt, trashedAt = '' }) => [
      id,
      agent,
      principal,
      stateText(state),
      String(turns),
      String(tokens),
      changedAt,
      ...(inTrash ? [trashedAt] : []),
    ],
  );
  const columns = ['CONVERSATION', 'AGENT', 'OWNER', 'STATE', 'TURNS', 'TOKENS', 'CHANGED'];
  return formatTable(inTrash ? [...columns, 'TRASHED'] : columns, rows);
}
