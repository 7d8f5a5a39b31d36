// Finds the conversation and the place of the new message of a chat client, which sends its whole history with each request. If the
// user edits a message or wants another answer, the client keeps its id. Such a request continues in a branch: a fork whose id is a
// hash of the place and the question. Later requests find the branch by the same path, so the door needs no table.
import type { ForkOrigin } from '@fame-fabric/client';
import { FabricError, newId } from '@fame-fabric/shared';
import type { ConversationKey } from '../shared/conversation-key.ts';
import { hash, type Retry } from '../shared/retry-key.ts';
import type { SentMessages } from './chat-messages.ts';
import {
  comparable,
  joined,
  type Match,
  matchHistory,
  questionsOf,
  type SentQuestion,
} from './history-match.ts';
import type { ConversationTurns, JournalTurn, Question } from './journal-turns.ts';

/** The place at which a request continues. `text` is the message of the user in its turn. */
export type Place = { readonly id: string; readonly text: string } & (
  | { readonly type: 'join'; readonly turnId: string }
  | { readonly type: 'next' }
  /** The conversation must be started, with the messages before the new input. */
  | { readonly type: 'start' }
  | { readonly type: 'fork'; readonly from: ForkOrigin }
);

export interface PlaceRequest {
  /** Reads the turns of a conversation; undefined if the caller has none with that id. */
  readonly read: (id: string) => Promise<ConversationTurns | undefined>;
  readonly key: ConversationKey;
  readonly sent: SentMessages;
  readonly retry: Retry;
  /** True if the answer to an earlier request with this key did not arrive. */
  readonly isLost: (retryKey: string) => boolean;
}

/** Maximum number of branches on the path to a place. */
const MAX_BRANCHES = 64;
/** Maximum number of branches of one conversation that are looked up because an answer differs. */
const MAX_PROBES = 8;

/**
 * Reads the journal of the conversation, and of the branches on the path.
 * @throws {TURN_CONFLICT} if the request has the `Idempotency-Key` of another one
 * @throws {TURN_IN_PROGRESS} if the new message follows a turn that runs
 */
export async function findPlace(request: PlaceRequest): Promise<Place> {
  const { key, sent } = request;
  const path = new Path(request);
  let turns = await path.read(key.id);
  if (!turns) return { type: 'start', id: key.id, text: joined(sent.texts) };
  for (let branches = 0; branches < MAX_BRANCHES; branches++) {
    const step = await path.step(turns);
    if ('place' in step) return step.place;
    turns = step.branch;
  }
  return { type: 'start', id: newId(), text: joined(sent.texts) };
}

/** The path from the conversation of a client to the place of its new message. */
class Path {
  readonly #request: PlaceRequest;
  /** The questions of all conversations on the path. */
  readonly #known = new Set<string>();
  /** Questions of the request that were matched before the current conversation. */
  #from = 0;
  #isFork = false;
  /** The last turn on the path that the request repeats. A request for another answer has the same body as the first one. */
  #join: Place | undefined;

  constructor(request: PlaceRequest) {
    this.#request = request;
  }

  read(id: string): Promise<ConversationTurns | undefined> {
    return this.#request.read(id);
  }

  /** Finds the place in a conversation, or the next branch. */
  async step(turns: ConversationTurns): Promise<{ place: Place } | { branch: ConversationTurns }> {
    const { sent, key } = this.#request;
    for (const { text } of turns.questions) this.#known.add(text);
    const { history, text } = questionsOf(sent, this.#known);
    const repeated = this.#repeated(turns);
    if (repeated) this.#join = { type: 'join', id: turns.id, turnId: repeated.id, text };
    if (this.#join && repeated?.isOpen) return { place: this.#join };
    const rest = history.slice(this.#from);
    const results = sent.results.map(({ tool_call_id }) => tool_call_id);
    const next = results.length > 0 ? resultsHash(results) : comparable(text);
    const match = matchHistory(rest, turns.questions, {
      next: results.length > 0 ? undefined : next,
      sendsHistory: key.sendsHistory || turns.hasSentHistory || isFirstAgain(turns, next),
      isFromStart: this.#isFork,
    });
    const sibling = await this.#sibling(turns, rest, match);
    if (sibling) return { branch: sibling };
    const { kept, used } = match;
    const group = groupOf(turns, kept);
    // The results answer the calls of one turn, and another turn may already have brought results.
    const called =
      results.length > 0 && used === rest.length
        ? group.findLast(({ calls }) => results.every((id) => calls.includes(id)))
        : undefined;
    const at = called ?? group.at(-1);
    const isCalled = results.length === 0 || called !== undefined;
    const isEnd = kept === turns.questions.length && at === turns.last;
    if (used === rest.length && isEnd && isCalled) {
      if (this.#join) return { place: this.#join };
      if (turns.last?.isOpen) throw inProgress();
      return { place: { type: 'next', id: turns.id, text } };
    }
    const question = used < rest.length ? rest[used]!.text : next;
    const id = branchId(turns.id, at?.id, question);
    const branch = await this.read(id);
    if (branch) return { branch: this.#enter(branch, used) };
    if (this.#join) return { place: this.#join };
    if (used < rest.length || !isCalled) return { place: { type: 'start', id, text } };
    const from = at ? { conversation_id: turns.id, turn_id: at.id } : turns.forkedFrom;
    if (!from) return { place: { type: 'start', id, text } };
    if (at?.isOpen) throw inProgress();
    return { place: { type: 'fork', id, from, text } };
  }

  #enter(branch: ConversationTurns, used: number): ConversationTurns {
    this.#isFork = branch.forkedFrom !== undefined;
    // A branch that is not a fork began with all messages of its request.
    this.#from = this.#isFork ? this.#from + used : 0;
    return branch;
  }

  /** The turn of an earlier request that this one repeats. */
  #repeated({ lead, questions }: ConversationTurns): JournalTurn | undefined {
    const { retry, isLost } = this.#request;
    const turns = [...lead, ...questions.flatMap((question) => question.turns)];
    const turn = turns.findLast(({ name }) => name?.key === retry.key);
    if (!turn) return undefined;
    if (turn.name?.body !== retry.body) throw keyConflict();
    return retry.count > 0 || turn.isOpen || isLost(retry.key) ? turn : undefined;
  }

  /**
   * Returns the branch with another answer to an earlier question, if the history of the client has another answer than the journal. Its
   * user may have asked for another answer.
   */
  async #sibling(
    turns: ConversationTurns,
    rest: readonly SentQuestion[],
    { kept, used }: Match,
  ): Promise<ConversationTurns | undefined> {
    let probes = 0;
    for (let i = Math.max(0, used - kept); i < used; i++) {
      const place = i + kept - used;
      const question = turns.questions[place]!;
      const { answer } = rest[i]!;
      if (answer === undefined || question.answer === undefined || answer === question.answer) continue;
      for (const [id, depth] of siblingIds(turns, place, question)) {
        if (probes++ >= MAX_PROBES) return undefined;
        const branch = await this.read(id);
        if (branch) return this.#enter(branch, i + depth);
      }
    }
    return undefined;
  }
}

/** Ids of the branches with another answer to a question, and whether the question is in the branch (0) or before it (1). */
function siblingIds(turns: ConversationTurns, place: number, question: Question): [string, 0 | 1][] {
  const again = branchId(turns.id, groupOf(turns, place).at(-1)?.id, question.text);
  const results = question.turns.flatMap(({ id, calls }): [string, 1][] =>
    calls.length > 0 ? [[branchId(turns.id, id, resultsHash(calls)), 1]] : [],
  );
  return [[again, 0], ...results];
}

/** The turns of the last of the first `kept` questions. */
const groupOf = ({ questions, lead }: ConversationTurns, kept: number): readonly JournalTurn[] =>
  kept > 0 ? questions[kept - 1]!.turns : lead;

/** True if the only question is sent again. A client that sends no history would probably not repeat it. */
const isFirstAgain = ({ questions }: ConversationTurns, next: string): boolean =>
  questions.length === 1 && questions[0]!.text === next;

const branchId = (conversation: string, turn: string | undefined, question: string): string =>
  `branch-${hash(conversation, turn ?? '', question)}`;

const resultsHash = (ids: readonly string[]): string => hash('results', ...[...ids].sort());

const inProgress = (): FabricError =>
  new FabricError(
    'TURN_IN_PROGRESS',
    'The conversation has a turn that has not ended. Wait for its end, or close its connection to cancel it.',
  );

/** Error for an `Idempotency-Key` with another body. */
export const keyConflict = (): FabricError =>
  new FabricError(
    'TURN_CONFLICT',
    'The Idempotency-Key was used for a request with another body. Use a new key.',
    {
      details: { param: 'Idempotency-Key' },
    },
  );
