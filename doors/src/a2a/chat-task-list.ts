// The list of the tasks of a chat agent: the turns of one conversation, or of the latest conversations of the caller. Agents have no
// list of turns, so it is made from the events of the conversations, with a limit on the work of one request.
import type { ConversationEvent, Conversations, TurnReport } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { byPlace, pageOf, readPageToken, type TaskPlace } from './page-token.ts';
import { type Task, TaskState } from './sdk.ts';
import type { TurnRef } from './task-id.ts';
import type { TaskPage, TaskQuery } from './task-source.ts';

/** Pages of events that one request reads. Older turns are left out. */
const MAX_READS = 64;
const PAGE_EVENTS = 500;
const PAGE_CONVERSATIONS = 50;
/** Reports that are requested at the same time. */
const PARALLEL = 8;

interface ListedTurn extends TaskPlace {
  readonly ref: TurnRef;
}

/** Makes a page of the list. `taskOf` builds the task of a turn. */
export async function listTurns(
  conversations: Conversations,
  query: TaskQuery,
  taskOf: (ref: TurnRef, report: TurnReport) => Promise<Task>,
): Promise<TaskPage> {
  const from = readPageToken(query.pageToken);
  const budget = { reads: MAX_READS };
  const turns: ListedTurn[] = [];
  const isNext = (turn: TaskPlace): boolean => from === undefined || byPlace(from, turn) < 0;
  for await (const { id, changedAt } of conversationsOf(conversations, query.contextId)) {
    // No turn of this conversation or of those after it is newer than its last change.
    if (turns.filter((turn) => turn.at > changedAt && isNext(turn)).length > query.pageSize) break;
    if (budget.reads <= 0) break;
    turns.push(...(await turnsOf(conversations, id, query, budget)));
  }
  const { page, nextPageToken } = pageOf(turns, from, query.pageSize);
  const tasks: Task[] = [];
  for (let start = 0; start < page.length; start += PARALLEL) {
    const some = page.slice(start, start + PARALLEL);
    tasks.push(
      ...(await Promise.all(
        some.map(async ({ ref }) => taskOf(ref, await conversations.turn(ref.conversation, ref.turn))),
      )),
    );
  }
  return { tasks, nextPageToken, totalSize: turns.length };
}

async function* conversationsOf(
  conversations: Conversations,
  contextId: string,
): AsyncGenerator<{ id: string; changedAt: number }> {
  if (contextId !== '') {
    yield { id: contextId, changedAt: Number.POSITIVE_INFINITY };
    return;
  }
  let before: string | undefined;
  do {
    const page = await conversations.list({ before, limit: PAGE_CONVERSATIONS });
    for (const { id, changed_at } of page.conversations) yield { id, changedAt: Date.parse(changed_at) };
    before = page.next ?? undefined;
  } while (before !== undefined);
}

/** Returns the turns of a conversation that match. A conversation that does not exist, or that belongs to another caller, has none. */
async function turnsOf(
  conversations: Conversations,
  conversation: string,
  { state, changedSince = Number.NEGATIVE_INFINITY }: TaskQuery,
  budget: { reads: number },
): Promise<ListedTurn[]> {
  const turns = new Map<string, TurnStatus>();
  try {
    for (let after = 0; budget.reads > 0; ) {
      budget.reads -= 1;
      const page = await conversations.readEvents(conversation, { after, limit: PAGE_EVENTS });
      for (const event of page.events) record(turns, event);
      if (page.events.length === 0) break;
      after = page.next;
    }
  } catch (error) {
    if (!isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
  }
  return [...turns]
    .filter(([, turn]) => (state === undefined || turn.state === state) && turn.at >= changedSince)
    .map(([turn, { at }]) => ({ id: turn, at, ref: { conversation, turn } }));
}

interface TurnStatus {
  readonly state: TaskState;
  /** Times in ms since the epoch. */
  readonly at: number;
  readonly acceptedAt: number;
}

/** Records the state that an event gives its turn. The times are those in the status of its task. */
function record(turns: Map<string, TurnStatus>, event: ConversationEvent): void {
  if (event.type === 'started' || event.type === 'ended') return;
  const state = stateAfter(event);
  if (state === undefined) return;
  const time = Date.parse(event.at);
  const acceptedAt = turns.get(event.turn_id)?.acceptedAt ?? time;
  turns.set(event.turn_id, {
    state,
    at: state === TaskState.TASK_STATE_WORKING ? acceptedAt : time,
    acceptedAt,
  });
}

function stateAfter(event: ConversationEvent): TaskState | undefined {
  switch (event.type) {
    case 'turn':
    case 'approval_answer':
      return TaskState.TASK_STATE_WORKING;
    case 'approval':
      return TaskState.TASK_STATE_INPUT_REQUIRED;
    case 'done':
      return TaskState.TASK_STATE_COMPLETED;
    case 'error':
      return event.code === 'TURN_CANCELLED' ? TaskState.TASK_STATE_CANCELED : TaskState.TASK_STATE_FAILED;
    default:
      return undefined;
  }
}
