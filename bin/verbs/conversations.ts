// `fame conversations ls | show ID | export ID | rm ID`: reads the store of this machine, even while an agent uses it. Data goes
// to stdout, messages to stderr. Texts of models and users are escaped before they are printed.
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import {
  type ConversationStore,
  exportConversation,
  type ListedConversation,
  listConversations,
  removeConversation,
  type ShownConversation,
  type ShownTurn,
  SqliteStore,
  showConversation,
  storePath,
} from '@fame-fabric/agents/internal';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { FabricError, isFabricError } from '@fame-fabric/shared';
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

const USAGE = 'Usage: npx fame conversations ls | show ID | export ID | rm ID [--json]';
const ACTIONS: readonly string[] = ['ls', 'show', 'export', 'rm'];
const MAX_LISTED = 1_000;

export const run = ({ positionals, flags, env }: VerbInput): Promise<number> =>
  runConversations(positionals, { json: flags.json === true, env });

/** Runs one action. Resolves to its exit code: 0, 1 for a failure, 2 for wrong usage or configuration. */
export async function runConversations(
  words: readonly string[],
  { json, env, print = stdoutPrint(), write = writeMessage }: ConversationsOptions,
): Promise<number> {
  const [action = 'ls', id, ...more] = words;
  const fault = usageFault(action, id, more);
  if (fault !== undefined) {
    write(`${fault}\n${USAGE}`);
    return EXIT.usage;
  }
  const output = { json, print, write };
  let store: SqliteStore | undefined;
  try {
    const path = storePath(readAgentConfig(env).dataDir);
    if (existsSync(path)) store = await SqliteStore.open({ path }); // `open` would create a missing store
    if (action === 'ls') await list(store, path, output);
    else if (!store) throw new FabricError('CONVERSATION_UNKNOWN', `There are no conversations in ${path}.`);
    else await runOnOne(store, action, id!, output);
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
  if (!ACTIONS.includes(action)) {
    const match = closestMatch(action, ACTIONS);
    return `conversations has no action ${quoted(action)}.${match ? ` Did you mean ${match}?` : ''}`;
  }
  if (action !== 'ls' && id === undefined) return `conversations ${action} takes the id of a conversation.`;
  const extra = action === 'ls' ? id : more[0];
  return extra === undefined ? undefined : `conversations ${action} takes no argument ${quoted(extra)}.`;
}

async function list(
  store: ConversationStore | undefined,
  path: string,
  { json, print, write }: Output,
): Promise<void> {
  const conversations = store ? await listConversations(store, { limit: MAX_LISTED }) : [];
  if (json) await print(`${printableJson(conversations, 2)}\n`);
  else if (conversations.length === 0) write(`There are no conversations in ${path}.`);
  else await print(`${tableOf(conversations)}\n`);
}

async function runOnOne(
  store: ConversationStore,
  action: string,
  id: string,
  { json, print, write }: Output,
): Promise<void> {
  if (action === 'export') {
    for await (const line of exportConversation(store, id))
      await print(`${printableJson(JSON.parse(line))}\n`);
  } else if (action === 'rm') {
    await removeConversation(store, id);
    if (json) await print(`${printableJson({ removed: id })}\n`);
    else write(`Removed ${escapeLine(id)}.`);
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

function tableOf(conversations: readonly ListedConversation[]): string {
  const rows = conversations.map(({ id, agent, state, turns, tokens, changedAt }) => [
    id,
    agent,
    stateText(state),
    String(turns),
    String(tokens),
    changedAt,
  ]);
  return formatTable(['CONVERSATION', 'AGENT', 'STATE', 'TURNS', 'TOKENS', 'CHANGED'], rows);
}

// The store has the state of the conversation's A2A task, which is `working` until the conversation ends.
const stateText = (state: ListedConversation['state']): string => (state === 'working' ? 'open' : state);

function transcriptOf(shown: ShownConversation): string {
  const { id, agent, state, turns, modelCalls, tokens, options, transcript } = shown;
  const counts = [countText(turns, 'turn'), countText(modelCalls, 'model call'), countText(tokens, 'token')];
  const head = escapeLine(`${id} at ${agent}: ${[stateText(state), ...counts].join(', ')}`);
  const system = options.systemPrompt === '' ? [] : [indent('S> ', options.systemPrompt)];
  return [head, ...system, ...transcript.map(turnText)].join('\n\n');
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
