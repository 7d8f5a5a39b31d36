// `fame conversations ls | show ID | export ID | rm ID | restore ID | sweep`: works on the store of this machine, even while an
// agent uses it. Data goes to stdout, messages to stderr. Texts of models and users are escaped before they are printed.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  type ConversationStore,
  exportConversation,
  type ListedConversation,
  listConversations,
  removeConversation,
  restoreConversation,
  type ShownConversation,
  type ShownTurn,
  SqliteStore,
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
  escapeControls,
  escapeLine,
  formatTable,
  printableJson,
} from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';
import { onStdoutClosed, writeMessage } from '../output.ts';
import type { VerbInput } from '../verb.ts';

/** Writes data. The caller awaits a returned promise before it writes more. */
type Print = (text: string) => unknown;

export interface ConversationsOptions {
  json: boolean;
  /** Lists the trash. @default false */
  trash?: boolean | undefined;
  /** Skips the trash, or empties it. @default false */
  now?: boolean | undefined;
  env: Environment;
  /** Receives data. @default stdout */
  print?: Print | undefined;
  /** Receives messages for people. @default stderr */
  write?: ((message: string) => void) | undefined;
}

interface Output {
  json: boolean;
  print: Print;
  write: (message: string) => void;
}

/** Arguments of each action: an id or none, and the flag that it takes. */
const ACTIONS: Readonly<Record<string, { takesId: boolean; flag?: 'trash' | 'now' }>> = {
  ls: { takesId: false, flag: 'trash' },
  show: { takesId: true },
  export: { takesId: true },
  rm: { takesId: true, flag: 'now' },
  restore: { takesId: true },
  sweep: { takesId: false, flag: 'now' },
};
const USAGE =
  'Usage: npx fame conversations ls [--trash] | show ID | export ID | rm ID [--now] | restore ID | sweep [--now] [--json]';
const MAX_LISTED = 1_000;
const DAY_MS = 86_400_000;

export const run = ({ positionals, flags, env }: VerbInput): Promise<number> =>
  runConversations(positionals, {
    json: flags.json === true,
    trash: flags.trash === true,
    now: flags.now === true,
    env,
  });

/** Runs one action. Resolves to its exit code: 0, 1 for a failure, 2 for wrong usage or configuration. */
export async function runConversations(
  words: readonly string[],
  options: ConversationsOptions,
): Promise<number> {
  const { json, trash = false, now = false, env, print = stdoutPrint(), write = writeMessage } = options;
  const [action = 'ls', id, ...more] = words;
  const fault = usageFault(action, id, more) ?? flagFault(action, { trash, now });
  if (fault !== undefined) {
    write(`${fault}\n${USAGE}`);
    return EXIT.usage;
  }
  const output = { json, print, write };
  let store: SqliteStore | undefined;
  try {
    const config = readAgentConfig(env);
    const path = storePath(config.dataDir);
    if (existsSync(path)) store = await SqliteStore.open({ path }); // `open` would create a missing store
    if (action === 'ls') await list(store, path, trash, output);
    else if (!store) throw new FabricError('CONVERSATION_UNKNOWN', `There are no conversations in ${path}.`);
    else if (action === 'sweep') await sweep(store, config.conversationTtlDays, now, output);
    else await runOnOne(store, action, id!, now, output);
    return EXIT.ok;
  } catch (error) {
    if (!isFabricError(error)) throw error;
    const isConfig = error.code === 'CONFIG_INVALID';
    write(escapeControls(isConfig ? error.message : `${error.message} (${error.code})`));
    return isConfig ? EXIT.usage : EXIT.failure;
  } finally {
    await store?.close();
  }
}

function usageFault(action: string, id: string | undefined, more: readonly string[]): string | undefined {
  const quoted = (word: string): string => `"${escapeLine(cutText(word, 64))}"`;
  if (!Object.hasOwn(ACTIONS, action)) {
    const match = closestMatch(action, Object.keys(ACTIONS));
    return `conversations has no action ${quoted(action)}.${match ? ` Did you mean ${match}?` : ''}`;
  }
  const { takesId } = ACTIONS[action]!;
  if (takesId && id === undefined) return `conversations ${action} takes the id of a conversation.`;
  const extra = takesId ? more[0] : id;
  return extra === undefined ? undefined : `conversations ${action} takes no argument ${quoted(extra)}.`;
}

function flagFault(action: string, flags: { trash: boolean; now: boolean }): string | undefined {
  for (const flag of ['trash', 'now'] as const) {
    if (flags[flag] && ACTIONS[action]!.flag !== flag)
      return `conversations ${action} takes no flag --${flag}.`;
  }
  return undefined;
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
  if (conversations.length === 0) write(`There are no conversations in ${where}${path}.`);
  else await print(`${tableOf(conversations, inTrash)}\n`);
  const hasTrash = !inTrash && store && (await store.list({ inTrash: true, limit: 1 })).length > 0;
  if (hasTrash) write('The trash has more: npx fame conversations ls --trash');
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
    for await (const line of exportConversation(store, id))
      await print(`${printableJson(JSON.parse(line))}\n`);
  } else if (action === 'rm') {
    await (now ? removeConversation(store, id) : trashConversation(store, id));
    const shown = escapeLine(id);
    if (json) await print(`${printableJson({ removed: id, inTrash: !now })}\n`);
    else if (now) write(`Removed ${shown}.`);
    else write(`Moved ${shown} to the trash. To free its space: npx fame conversations rm ${shown} --now`);
  } else if (action === 'restore') {
    await restoreConversation(store, id);
    if (json) await print(`${printableJson({ restored: id })}\n`);
    else write(`Restored ${escapeLine(id)}.`);
  } else {
    const shown = await showConversation(store, id);
    await print(json ? `${printableJson(shown, 2)}\n` : `${transcriptOf(shown)}\n`);
  }
}

// Waits for a reader that is slower than the store, and exits when the reader is gone, as after `head`.
function stdoutPrint(): Print {
  const { stdout } = process;
  onStdoutClosed(() => process.exit(EXIT.ok));
  return (text) => (stdout.write(text) ? undefined : once(stdout, 'drain'));
}

function tableOf(conversations: readonly ListedConversation[], inTrash: boolean): string {
  const rows = conversations.map(({ id, agent, state, turns, tokens, changedAt, trashedAt = '' }) => [
    id,
    agent,
    stateText(state),
    String(turns),
    String(tokens),
    changedAt,
    ...(inTrash ? [trashedAt] : []),
  ]);
  const columns = ['CONVERSATION', 'AGENT', 'STATE', 'TURNS', 'TOKENS', 'CHANGED'];
  return formatTable(inTrash ? [...columns, 'TRASHED'] : columns, rows);
}

// The store has the state of the conversation's A2A task, which is `working` until the conversation ends.
const stateText = (state: ListedConversation['state']): string => (state === 'working' ? 'open' : state);

function transcriptOf(shown: ShownConversation): string {
  const { id, agent, state, turns, modelCalls, tokens, options, transcript, trashedAt, forkedFrom } = shown;
  const counts = [countText(turns, 'turn'), countText(modelCalls, 'model call'), countText(tokens, 'token')];
  const trash = trashedAt === undefined ? [] : [`in the trash since ${trashedAt}`];
  const fork = forkedFrom ? [`forked from ${forkedFrom.conversationId} at turn ${forkedFrom.turnId}`] : [];
  const facts = [stateText(state), ...counts, ...fork, ...trash];
  const head = escapeLine(`${id} at ${agent}: ${facts.join(', ')}`);
  const system = options.systemPrompt === '' ? [] : [indent('S> ', options.systemPrompt)];
  const start = startText(shown.messages);
  return [head, ...system, ...start, ...transcript.map(turnText)].join('\n\n');
}

/** The messages that the conversation started with, as one paragraph. Results of tools are left out, as in turns. */
function startText(messages: ShownConversation['messages']): string[] {
  if (messages.length === 0) return [];
  const lines = [`   [started with ${countText(messages.length, 'message')}]`];
  for (const message of messages) {
    if (message.role === 'tool') continue;
    if (message.content) lines.push(indent(message.role === 'user' ? 'Q> ' : 'A> ', message.content));
    if (message.role !== 'assistant') continue;
    for (const { function: tool } of message.tool_calls ?? []) {
      lines.push(`   [tool ${escapeLine(tool.name)}]`);
    }
  }
  return [lines.join('\n')];
}

function turnText({ user, text, tools, state, error, resumes }: ShownTurn): string {
  const lines = [indent('Q> ', user)];
  for (const { name, ok } of tools) {
    const outcome = ok === undefined ? 'not finished' : ok ? 'ok' : 'failed';
    lines.push(`   [tool ${escapeLine(name)}: ${outcome}]`);
  }
  if (text !== '') lines.push(indent('A> ', text));
  if (state !== 'completed') {
    lines.push(`   [${escapeLine(`${state}${error ? `: ${error.message} (${error.code})` : ''}`)}]`);
  }
  if (resumes > 0) lines.push(`   [resumed ${countText(resumes, 'time')}]`);
  return lines.join('\n');
}

// Indents all lines but the first, so that no text can look like the next turn.
const indent = (mark: string, text: string): string =>
  mark + escapeControls(text).replaceAll(/[\n\u2028\u2029]/g, '\n   ');
