// `fame conversations ls | show ID | export ID | rm ID`: what the store of this machine holds, read beside a running agent.
// Data goes to stdout, words to stderr; what people once wrote is printed without anything a terminal would obey.

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
import { closestMatch } from '@fame-fabric/shared/internal';
import type { Environment, VerbInput } from '../verb.ts';

/** What it gives is awaited. */
type Out = (text: string) => unknown;

export interface CommandOptions {
  json?: boolean;
  env: Environment;
  /** Takes data; a promise holds back what follows. @default stdout */
  out?: Out;
  /** Takes words for people. @default stderr */
  say?: (line: string) => void;
}

const USAGE = 'Usage: npx fame conversations ls | show ID | export ID | rm ID [--json]';
const ACTIONS: readonly string[] = ['ls', 'show', 'export', 'rm'];
const OK = 0;
const FAILURE = 1;
const WRONG_USAGE = 2;

export const run = ({ positionals, flags, env }: VerbInput): Promise<number> =>
  runConversations(positionals, { json: flags.json === true, env });

/** Runs the command and resolves to its exit code: 0, 1 for a failure, 2 for wrong usage or configuration. */
export async function runConversations(words: readonly string[], options: CommandOptions): Promise<number> {
  const out = options.out ?? toStdout();
  const say = options.say ?? ((line) => void process.stderr.write(`${line}\n`));
  const [action = 'ls', id, ...more] = words;
  const fault = usageFault(action, id, more);
  if (fault !== undefined) {
    say(`${fault}\n${USAGE}`);
    return WRONG_USAGE;
  }
  let store: SqliteStore | undefined;
  try {
    const path = storePath(readAgentConfig(options.env).dataDir);
    // To look at a store must not make one.
    if (existsSync(path)) store = await SqliteStore.open({ path });
    if (action === 'ls') await list(store, path, options.json ?? false, out, say);
    else if (!store) throw new FabricError('CONVERSATION_UNKNOWN', `There are no conversations in ${path}.`);
    else await one(store, action, id!, options.json ?? false, out, say);
    return OK;
  } catch (error) {
    if (!isFabricError(error)) throw error;
    say(error.code === 'CONFIG_INVALID' ? error.message : `${error.message} (${error.code})`);
    return error.code === 'CONFIG_INVALID' ? WRONG_USAGE : FAILURE;
  } finally {
    await store?.close();
  }
}

function usageFault(action: string, id: string | undefined, more: readonly string[]): string | undefined {
  if (!ACTIONS.includes(action)) {
    const near = closestMatch(action, ACTIONS);
    return `conversations has no action "${inert(action.slice(0, 64))}".${near ? ` Did you mean ${near}?` : ''}`;
  }
  if (action !== 'ls' && id === undefined) return `conversations ${action} takes the id of a conversation.`;
  const extra = action === 'ls' ? id : more[0];
  if (extra === undefined) return undefined;
  return `conversations ${action} does not know what to do with "${inert(extra.slice(0, 64))}".`;
}

async function list(
  store: ConversationStore | undefined,
  path: string,
  json: boolean,
  out: Out,
  say: (line: string) => void,
): Promise<void> {
  const conversations = store ? await listConversations(store, { limit: 1_000 }) : [];
  if (json) await out(`${JSON.stringify(conversations, null, 2)}\n`);
  else if (conversations.length === 0) say(`There are no conversations in ${path}.`);
  else await out(`${tableOf(conversations)}\n`);
}

async function one(
  store: ConversationStore,
  action: string,
  id: string,
  json: boolean,
  out: Out,
  say: (line: string) => void,
): Promise<void> {
  if (action === 'export') {
    for await (const line of exportConversation(store, id)) await out(`${line}\n`);
  } else if (action === 'rm') {
    await removeConversation(store, id);
    if (json) await out(`${JSON.stringify({ removed: id })}\n`);
    else say(`Removed ${inert(id)}.`);
  } else {
    const shown = await showConversation(store, id);
    await out(json ? `${JSON.stringify(shown, null, 2)}\n` : `${transcriptOf(shown)}\n`);
  }
}

// Whoever reads the output may stop before its end, as `head` does, or be slower than the store.
function toStdout(): Out {
  const { stdout } = process;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(OK);
    throw error;
  });
  return (text) => (stdout.write(text) ? undefined : once(stdout, 'drain'));
}

function tableOf(conversations: readonly ListedConversation[]): string {
  const head = ['CONVERSATION', 'AGENT', 'STATE', 'TURNS', 'TOKENS', 'CHANGED'];
  const rows = conversations.map((one) => [
    one.id,
    one.agent,
    stateText(one.state),
    String(one.turns),
    String(one.tokens),
    one.changedAt,
  ]);
  const cells = [head, ...rows].map((row) => row.map((cell) => inert(cell).replaceAll('\n', ' ')));
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

// The store keeps the state of the task that a conversation is, in the words of A2A: it is `working` until it ends.
const stateText = (state: ListedConversation['state']): string => (state === 'working' ? 'open' : state);

function transcriptOf(shown: ShownConversation): string {
  const { id, agent, state, turns, modelCalls, tokens, options, transcript } = shown;
  const counts = [count(turns, 'turn'), count(modelCalls, 'model call'), count(tokens, 'token')];
  const head = `${inert(id)} at ${inert(agent)}: ${[stateText(state), ...counts].join(', ')}`;
  const system = options.systemPrompt === '' ? [] : [indent('S> ', options.systemPrompt)];
  return [head, ...system, ...transcript.map(turnText)].join('\n\n');
}

function turnText({ user, text, tools, state, error, resumes }: ShownTurn): string {
  const lines = [indent('Q> ', user)];
  for (const { name, ok } of tools) {
    const outcome = ok === undefined ? 'not finished' : ok ? 'ok' : 'failed';
    lines.push(`   [tool ${inert(name)}: ${outcome}]`);
  }
  if (text !== '') lines.push(indent('A> ', text));
  if (state !== 'completed') {
    lines.push(`   [${state}${error ? `: ${inert(error.message)} (${inert(error.code)})` : ''}]`);
  }
  if (resumes > 0) lines.push(`   [resumed ${count(resumes, 'time')}]`);
  return lines.join('\n');
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;

const indent = (mark: string, text: string): string => mark + inert(text).replaceAll('\n', '\n   ');

// Control characters but line breaks and tabs, and what turns the direction of writing: a terminal obeys them.
const inert = (text: string): string =>
  text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
