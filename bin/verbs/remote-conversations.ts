// `fame conversations ls | show ID | export ID --from ADDRESS`: asks a running agent over the fabric.
import type { ConversationEvent, ConversationSummary, Conversations, Cost } from '@fame-fabric/client';
import { connectionText } from '@fame-fabric/client/internal';
import { isFabricError, parseAddress } from '@fame-fabric/shared';
import { type Environment, EXIT, escapeLine, formatTable, printableJson } from '@fame-fabric/shared/internal';
import { attach } from '../attach.ts';
import { readClientConfig } from '../config.ts';
import { onInterrupt } from '../interrupt.ts';
import { writeNote } from '../output.ts';
import { stateText, type Transcript, type TranscriptTurn, transcriptOf } from './transcript-text.ts';

/** Writes data. The caller awaits a returned promise before it writes more. */
export type Print = (text: string) => unknown;

export interface Output {
  json: boolean;
  print: Print;
  write: (message: string) => void;
}

/** The conversations of an agent, and the connection to it. */
export interface RemoteConversations extends AsyncDisposable {
  conversations: Pick<Conversations, 'address' | 'list' | 'readEvents'>;
}

export interface RemoteRequest {
  action: string;
  /** Given if the action takes one. */
  id: string | undefined;
  failed?: boolean | undefined;
  search?: string | undefined;
}

const MAX_LISTED = 1_000;
const MAX_PAGE = 200;
const MAX_EVENTS = 500;

/** Attaches to the sentinel. @throws {ADDRESS_INVALID | LINK_TIMEOUT | LINK_REFUSED | AUTH_INVALID} */
export async function openRemoteConversations(
  env: Environment,
  address: string,
): Promise<RemoteConversations> {
  parseAddress(address); // throws ADDRESS_INVALID
  const interrupt = onInterrupt();
  const client = await attach({
    config: readClientConfig(env),
    writeNote,
    onConnection: (isConnected) => writeNote(`${connectionText(isConnected)}\n`),
    signal: interrupt.signal,
  }).finally(() => interrupt.release());
  return { conversations: client.conversations(address), [Symbol.asyncDispose]: () => client.close() };
}

/** Runs `ls`, `show` or `export`. Returns its exit code. @throws the errors of the agent, such as {METHOD_NOT_FOUND | AUTH_FORBIDDEN} */
export async function readRemote(
  conversations: RemoteConversations['conversations'],
  request: RemoteRequest,
  output: Output,
): Promise<number> {
  const { action, id = '' } = request;
  try {
    if (action === 'ls') await list(conversations, request, output);
    else await readOne(conversations, action, id, output);
    return EXIT.ok;
  } catch (error) {
    // The fix of this code is about starting a conversation.
    if (!isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
    const { address } = conversations;
    output.write(
      `${address} has no conversation "${escapeLine(id)}". Write the whole id; \`npx fame-fabric conversations ls --from ${address}\` lists them. (${error.code})`,
    );
    return EXIT.failure;
  }
}

async function readOne(
  conversations: RemoteConversations['conversations'],
  action: string,
  id: string,
  output: Output,
): Promise<void> {
  if (action === 'export') {
    for await (const event of eventsOf(conversations, id)) await output.print(`${printableJson(event)}\n`);
  } else {
    const shown = await show(conversations, id);
    await output.print(output.json ? `${printableJson(shown, 2)}\n` : `${transcriptOf(shown)}\n`);
  }
}

async function list(
  conversations: RemoteConversations['conversations'],
  { failed, search }: RemoteRequest,
  { json, print, write }: Output,
): Promise<void> {
  const all: ConversationSummary[] = [];
  let before: string | undefined;
  do {
    const limit = Math.min(MAX_PAGE, MAX_LISTED - all.length);
    const page = await conversations.list({ failed: failed || undefined, search, before, limit });
    all.push(...page.conversations);
    before = page.next ?? undefined;
  } while (before !== undefined && all.length < MAX_LISTED);
  if (json) await print(`${printableJson(all, 2)}\n`);
  else if (all.length > 0) await print(`${tableOf(all)}\n`);
  else write(`${conversations.address} has no ${failed || search ? 'such conversations' : 'conversations'}.`);
  if (before !== undefined)
    write(`There are more than ${MAX_LISTED}. Narrow the list: --failed, --search TEXT`);
}

const tableOf = (all: readonly ConversationSummary[]): string =>
  formatTable(
    ['CONVERSATION', 'OWNER', 'STATE', 'TURNS', 'TOKENS', 'COST', 'LAST TURN', 'CHANGED'],
    all.map((one) => [
      one.id,
      one.owner,
      stateText(one.state),
      String(one.turns),
      String(one.usage.total_tokens ?? 0),
      costText(one.cost),
      one.last_outcome ?? '-',
      one.changed_at,
    ]),
  );

const costText = (cost: Cost): string =>
  cost === 'unknown' ? '-' : `${cost.amount.toPrecision(3)} ${cost.currency}`;

async function* eventsOf(
  conversations: RemoteConversations['conversations'],
  id: string,
): AsyncGenerator<ConversationEvent, void> {
  let after = 0;
  for (;;) {
    const { events, next } = await conversations.readEvents(id, { after, limit: MAX_EVENTS });
    yield* events;
    if (events.length === 0 || next <= after) return;
    after = next;
  }
}

/** Reads the transcript of a conversation out of its events. @throws {CONVERSATION_UNKNOWN} */
async function show(conversations: RemoteConversations['conversations'], id: string): Promise<Transcript> {
  const shown: Transcript = {
    id,
    agent: conversations.address,
    state: 'working',
    turns: 0,
    options: { systemPrompt: '' },
    messages: [],
    transcript: [],
  };
  const turns = new Map<string, ReadTurn>();
  for await (const event of eventsOf(conversations, id)) {
    if (event.type === 'started') addStart(shown, event);
    else if (event.type === 'ended') shown.state = event.state;
    else if (event.type === 'turn') turns.set(event.turn_id, newTurn(event));
    else if (turns.has(event.turn_id)) addEvent(turns.get(event.turn_id)!, event);
  }
  for (const { turn_id, tools, waits, ...turn } of turns.values()) {
    const state = turn.state === 'open' && waits.size > 0 ? 'input-required' : turn.state;
    if (state === 'input-required') shown.state = state;
    shown.transcript.push({ ...turn, state, tools: [...tools.values()] });
  }
  shown.turns = turns.size;
  return shown;
}

function addStart(shown: Transcript, { system_prompt, messages, forked_from }: Recorded<'started'>): void {
  if (typeof system_prompt === 'string') shown.options = { systemPrompt: system_prompt };
  shown.messages = (messages ?? []) as Transcript['messages'];
  if (!forked_from) return;
  shown.forkedFrom = { conversationId: forked_from.conversation_id, turnId: forked_from.turn_id };
}

type Recorded<K extends ConversationEvent['type']> = Extract<ConversationEvent, { type: K }>;
type TurnPart = Exclude<ConversationEvent, Recorded<'started'> | Recorded<'turn'> | Recorded<'ended'>>;

/** A turn while its events are read. */
interface ReadTurn extends Omit<TranscriptTurn, 'tools'> {
  turn_id: string;
  /** By id of the call. */
  tools: Map<string, TranscriptTurn['tools'][number]>;
  /** Ids of approvals without an answer. */
  waits: Set<string>;
}

const newTurn = ({ turn_id, user_message }: Recorded<'turn'>): ReadTurn => ({
  turn_id,
  state: 'open',
  user: user_message,
  text: '',
  tools: new Map(),
  waits: new Set(),
  resumes: 0,
  error: undefined,
});

function addEvent(turn: ReadTurn, event: TurnPart): void {
  switch (event.type) {
    case 'text':
      turn.text += event.text;
      break;
    case 'restart':
      turn.text = turn.text.slice(0, event.keep);
      turn.resumes++;
      break;
    case 'tool_call':
      turn.tools.set(String(event.id), { name: String(event.name), ok: undefined });
      break;
    case 'tool_result':
      turn.tools.set(String(event.id), { name: String(event.name), ok: event.ok });
      break;
    case 'approval':
      turn.waits.add(event.id);
      break;
    case 'approval_answer':
      turn.waits.delete(event.id);
      break;
    case 'done':
      turn.state = 'completed';
      turn.text = event.text;
      break;
    case 'error':
      turn.state = event.code === 'TURN_CANCELLED' ? 'cancelled' : 'failed';
      turn.error = { code: event.code, message: event.message };
      turn.text = event.text ?? turn.text;
  }
}
