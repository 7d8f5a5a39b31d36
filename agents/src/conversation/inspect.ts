// The functions behind `fame conversations`: list conversations, show a transcript, export a journal, remove a conversation. They
// work on the store, so no agent has to run.
import { FabricError } from '@fame-fabric/shared';
import type { Usage } from '../model/model.ts';
import type { ConversationRecord, ConversationStore, JournalEvent, TurnState } from '../store/store.ts';
import type { ConversationOptions, OutcomeFault, TurnOutcome } from './conversation.ts';
import { acceptedOf, optionsOfStart, outcomeOf } from './journal.ts';
import { recordedTurn } from './recorded-turn.ts';
import type { Spending } from './spending.ts';

/** Row of `fame conversations ls`. */
export interface ListedConversation {
  id: string;
  agent: string;
  state: ConversationRecord['state'];
  turns: number;
  /** ISO 8601. */
  startedAt: string;
  changedAt: string;
  chars: number;
  tokens: number;
  modelCalls: number;
  usd: number;
}

/** Turn in the output of `fame conversations show`. */
export interface ShownTurn {
  turnId: string;
  state: TurnState;
  user: string;
  /** The text of the turn, also of one that did not complete. */
  text: string;
  tools: { name: string; ok: boolean | undefined }[];
  /** Number of resumes after crashes. */
  resumes: number;
  usage: Usage | undefined;
  error: OutcomeFault | undefined;
  acceptedAt: string;
  endedAt: string | undefined;
}

export interface ShownConversation extends ListedConversation {
  options: ConversationOptions;
  transcript: ShownTurn[];
}

export interface ListRequest {
  agent?: string | undefined;
  /** @default 100 */
  limit?: number | undefined;
}

/** Lists conversations, latest change first. */
export async function listConversations(
  store: ConversationStore,
  request: ListRequest = {},
): Promise<ListedConversation[]> {
  const { agent, limit = 100 } = request;
  const listed: ListedConversation[] = [];
  let before: ConversationRecord | undefined;
  while (listed.length < limit) {
    const page = await store.list({
      limit: Math.min(100, limit - listed.length),
      ...(agent === undefined ? {} : { agent }),
      ...(before ? { before } : {}),
    });
    if (page.length === 0) break;
    listed.push(...page.map(listedOf));
    before = page.at(-1)!;
  }
  return listed;
}

/** Returns the transcript of a conversation, with the state of each turn. @throws {CONVERSATION_UNKNOWN} */
export async function showConversation(store: ConversationStore, id: string): Promise<ShownConversation> {
  const record = await store.record(id);
  if (!record) throw unknown(id);
  let options: ConversationOptions | undefined;
  const turns = new Map<string, JournalEvent[]>();
  for await (const event of journalOf(store, id)) {
    if (event.kind === 'conversation_started') options = optionsOfStart(event);
    if (event.turnId === undefined) continue;
    const events = turns.get(event.turnId);
    if (events) events.push(event);
    else turns.set(event.turnId, [event]);
  }
  if (!options) throw unknown(id);
  return { ...listedOf(record), options, transcript: [...turns.values()].map(showTurn) };
}

/** Yields every event of a conversation as a line of JSON, in order. @throws {CONVERSATION_UNKNOWN} */
export async function* exportConversation(
  store: ConversationStore,
  id: string,
): AsyncGenerator<string, void> {
  let isEmpty = true;
  for await (const event of journalOf(store, id)) {
    isEmpty = false;
    yield JSON.stringify(event);
  }
  if (isEmpty) throw unknown(id);
}

/** Removes a conversation. @throws {CONVERSATION_UNKNOWN} @throws {STORE_CONFLICT} while an agent holds it */
export async function removeConversation(store: ConversationStore, id: string): Promise<void> {
  if (!(await store.remove(id))) throw unknown(id);
}

async function* journalOf(store: ConversationStore, id: string): AsyncGenerator<JournalEvent, void> {
  for (let after = 0; ; ) {
    const page = await store.read(id, { after, limit: 500 });
    yield* page;
    if (page.length < 500) return;
    after = page.at(-1)!.seq;
  }
}

function listedOf(record: ConversationRecord): ListedConversation {
  const { spent } = record.totals as { spent?: Spending };
  return {
    id: record.id,
    agent: record.agent,
    state: record.state,
    turns: record.turns,
    startedAt: new Date(record.startedAt).toISOString(),
    changedAt: new Date(record.changedAt).toISOString(),
    chars: record.chars,
    tokens: spent?.tokens ?? 0,
    modelCalls: spent?.calls ?? 0,
    usd: spent?.usd ?? 0,
  };
}

function showTurn(events: readonly JournalEvent[]): ShownTurn {
  const first = events[0]!;
  const last = events.at(-1)!;
  const outcome: TurnOutcome | undefined = outcomeOf(last);
  const tools = new Map<string, ShownTurn['tools'][number]>();
  for (const { kind, body } of events) {
    if (kind === 'tool_started') tools.set(String(body.call_id), { name: String(body.name), ok: undefined });
    if (kind === 'tool_finished')
      tools.set(String(body.call_id), { name: String(body.name), ok: body.ok === true });
  }
  const error = outcome && outcome.state !== 'completed' ? outcome.error : undefined;
  return {
    turnId: first.turnId!,
    state: outcome?.state ?? 'open',
    user: acceptedOf(events).user_message,
    text: outcome?.text ?? textSoFar(events),
    tools: [...tools.values()],
    resumes: events.filter(({ kind, body }) => kind === 'turn_resumed' && body.from_step === undefined)
      .length,
    usage: outcome?.usage,
    error,
    acceptedAt: new Date(first.at).toISOString(),
    endedAt: outcome ? new Date(last.at).toISOString() : undefined,
  };
}

// An open turn: the text of whole replies, and the text since.
function textSoFar(events: readonly JournalEvent[]): string {
  const { text } = recordedTurn(events);
  const from = events.findLastIndex(({ kind }) => kind === 'turn_resumed' || kind === 'model_replied');
  const rest = events.slice(from + 1).map(({ kind, body }) => (kind === 'text' ? String(body.text) : ''));
  return text + rest.join('');
}

const unknown = (id: string): FabricError =>
  new FabricError('CONVERSATION_UNKNOWN', `There is no conversation "${id.slice(0, 256)}" in the store.`);
