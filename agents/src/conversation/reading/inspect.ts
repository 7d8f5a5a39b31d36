// The functions behind `fame conversations`: list conversations, show a transcript, export a journal, remove and restore a
// conversation, sweep. They work on the store, so no agent has to run.
import { FabricError } from '@fame-fabric/shared';
import type { ModelMessage, Usage } from '../../model/model.ts';
import type {
  ConversationRecord,
  ConversationStore,
  ForkPoint,
  JournalEvent,
  TurnState,
} from '../../store/store.ts';
import { sweepPages } from '../../store/sweeper.ts';
import type { ConversationOptions, OutcomeFault, TurnOutcome } from '../conversation.ts';
import { acceptedOf, bodyOf, optionsOfStart, outcomeOf } from '../journal/journal.ts';
import type { Spending } from '../spending.ts';
import { isoTime } from './recorded-event.ts';
import { type ApprovalReport, approvalsOf, textSoFar } from './turn-report.ts';

/** Row of `fame conversations ls`. */
export interface ListedConversation {
  /** Id in the store. */
  id: string;
  /** Id that the owner uses, if it is another one: a conversation of another owner or agent has it in the store. */
  publicId?: string;
  agent: string;
  /** Id of the principal that started it. */
  principal: string;
  state: ConversationRecord['state'];
  turns: number;
  /** ISO 8601. */
  startedAt: string;
  changedAt: string;
  chars: number;
  tokens: number;
  modelCalls: number;
  usd: number;
  /** ISO 8601; absent if it is not in the trash. */
  trashedAt?: string;
  /** The turn that a fork was made at. Its conversation may be gone. */
  forkedFrom?: ForkPoint;
}

/** Turn in the output of `fame conversations show`. */
export interface ShownTurn {
  turnId: string;
  /** `input-required`: it waits for the answers to `approvals`. */
  state: TurnState | 'input-required';
  user: string;
  /** The text of the turn, also of one that did not complete. */
  text: string;
  tools: { name: string; ok: boolean | undefined }[];
  /** Questions of an open turn that wait for an answer. */
  approvals: ApprovalReport[];
  /** Number of resumes after crashes. */
  resumes: number;
  usage: Usage | undefined;
  error: OutcomeFault | undefined;
  acceptedAt: string;
  endedAt: string | undefined;
}

export interface ShownConversation extends ListedConversation {
  options: ConversationOptions;
  /** Messages that the history begins with. */
  messages: readonly ModelMessage[];
  transcript: ShownTurn[];
}

export interface ListRequest {
  agent?: string | undefined;
  /** Lists the trash instead. @default false */
  inTrash?: boolean | undefined;
  /** @default 100 */
  limit?: number | undefined;
}

/** Lists conversations, latest change first. */
export async function listConversations(
  store: ConversationStore,
  request: ListRequest = {},
): Promise<ListedConversation[]> {
  const { agent, inTrash, limit = 100 } = request;
  const listed: ListedConversation[] = [];
  let before: ConversationRecord | undefined;
  while (listed.length < limit) {
    const page = await store.list({
      limit: Math.min(100, limit - listed.length),
      inTrash,
      ...(agent === undefined ? {} : { agent }),
      ...(before ? { before } : {}),
    });
    if (page.length === 0) break;
    listed.push(...page.map(listedOf));
    before = page.at(-1)!;
  }
  return listed;
}

/** Returns the transcript of a conversation, also of one in the trash, with the state of each turn. @throws {CONVERSATION_UNKNOWN} */
export async function showConversation(store: ConversationStore, id: string): Promise<ShownConversation> {
  const record = (await store.record(id)) ?? (await store.record(id, { inTrash: true }));
  if (!record) throw unknown(id);
  let started: JournalEvent | undefined;
  const turns = new Map<string, JournalEvent[]>();
  for await (const event of journalOf(store, id)) {
    started ??= event;
    if (event.turnId === undefined) continue;
    const events = turns.get(event.turnId);
    if (events) events.push(event);
    else turns.set(event.turnId, [event]);
  }
  if (!started) throw unknown(id);
  return {
    ...listedOf(record),
    options: optionsOfStart(started),
    messages: bodyOf(started, 'conversation_started').messages ?? [],
    transcript: [...turns.values()].map(showTurn),
  };
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

/** Moves a conversation to the trash. @throws {CONVERSATION_UNKNOWN} @throws {STORE_CONFLICT} while an agent holds it */
export async function trashConversation(store: ConversationStore, id: string): Promise<void> {
  if (await store.trash(id)) return;
  if (!(await store.record(id, { inTrash: true }))) throw unknown(id);
  throw new FabricError(
    'CONVERSATION_UNKNOWN',
    `The conversation "${id.slice(0, 256)}" is in the trash already. Delete it with --now.`,
  );
}

/** Deletes a conversation, also from the trash. @throws {CONVERSATION_UNKNOWN} @throws {STORE_CONFLICT} while an agent holds it */
export async function removeConversation(store: ConversationStore, id: string): Promise<void> {
  if (!(await store.remove(id))) throw unknown(id);
}

/** Moves a conversation back from the trash. @throws {CONVERSATION_UNKNOWN} if it is not there */
export async function restoreConversation(store: ConversationStore, id: string): Promise<void> {
  if (await store.restore(id)) return;
  if (!(await store.record(id))) throw unknown(id);
  throw new FabricError(
    'CONVERSATION_UNKNOWN',
    `The conversation "${id.slice(0, 256)}" is not in the trash.`,
  );
}

export interface SweepRequest {
  /** Conversations that changed earlier, in ms since the epoch, are moved to the trash. @default none */
  expiredBefore?: number | undefined;
  /** Deletes the whole trash. @default false */
  emptiesTrash?: boolean | undefined;
}

/** Sweeps now, also while a jump of the clock holds sweeps, and ends the hold. */
export async function sweepConversations(
  store: ConversationStore,
  { expiredBefore, emptiesTrash = false }: SweepRequest,
): Promise<{ moved: number; deleted: number }> {
  await store.endHold();
  const always = Number.MAX_SAFE_INTEGER;
  const { trashed: moved, deleted } = await sweepPages(store, {
    expiredBefore,
    trashedBefore: emptiesTrash ? { at: always, runningMs: always } : undefined,
  });
  return { moved, deleted };
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
    principal: record.principal,
    state: record.state,
    turns: record.turns,
    startedAt: isoTime(record.startedAt),
    changedAt: isoTime(record.changedAt),
    chars: record.chars,
    tokens: spent?.tokens ?? 0,
    modelCalls: spent?.calls ?? 0,
    usd: spent?.usd ?? 0,
    ...(record.trashedAt > 0 ? { trashedAt: isoTime(record.trashedAt) } : {}),
    ...(record.forkedFrom ? { forkedFrom: record.forkedFrom } : {}),
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
  const approvals = outcome ? [] : approvalsOf(events);
  const error = outcome && outcome.state !== 'completed' ? outcome.error : undefined;
  return {
    turnId: first.turnId!,
    state: outcome?.state ?? (approvals.length > 0 ? 'input-required' : 'open'),
    user: acceptedOf(events).user_message,
    text: outcome?.text ?? textSoFar(events),
    tools: [...tools.values()],
    approvals,
    resumes: events.filter(({ kind, body }) => kind === 'turn_resumed' && body.from_step === undefined)
      .length,
    usage: outcome?.usage,
    error,
    acceptedAt: isoTime(first.at),
    endedAt: outcome ? isoTime(last.at) : undefined,
  };
}

const unknown = (id: string): FabricError =>
  new FabricError('CONVERSATION_UNKNOWN', `There is no conversation "${id.slice(0, 256)}" in the store.`);
