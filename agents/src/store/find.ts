// The search of both stores: filters conversations in their order and looks into the texts of their users, with a bounded amount of
// work a call. A page may be short, and `next` says where the search goes on.
import type { EventKind, FindCursor, FindOptions, StoredState } from './store.ts';

/** Conversations that one call looks at. */
const MAX_ROWS = 2_000;
/** Turns whose texts one call looks at. */
const MAX_TURNS = 2_000;
/** Characters of events that one call parses; a last event may exceed it. */
const MAX_CHARS = 2_097_152;

/** A row of the list, in the order of the list. */
export interface FindRow {
  readonly id: string;
  readonly publicId: string;
  readonly agent: string;
  readonly state: StoredState;
  readonly changedAt: number;
  readonly lastOutcome: string;
  readonly isEphemeral: boolean;
  readonly isTrashed: boolean;
}

/** An event with text of a user: the start of a conversation, with an empty turn id, or the acceptance of a turn. */
export interface UserEvent {
  readonly kind: EventKind;
  readonly turnId: string;
  /** JSON. */
  readonly body: string;
}

export interface FindSource<Row extends FindRow> {
  /** Rows from `options.from` on, latest change first. Includes the row of `from` if it has a turn id. At most `limit`. */
  rows(limit: number): Iterable<Row>;
  /** The start of the conversation and its turns, in the order of their turn ids, after the given one. */
  userEvents(row: Row, after: string | undefined): Iterable<UserEvent>;
}

/** The same source for a store that reads page by page. */
export interface PagedFindSource<Row extends FindRow> {
  rows(limit: number): AsyncGenerator<Row>;
  userEvents(row: Row, after: string | undefined): AsyncGenerator<UserEvent>;
}

interface FoundRows<Row> {
  rows: Row[];
  next: FindCursor | undefined;
}

export function find<Row extends FindRow>(options: FindOptions, source: FindSource<Row>): FoundRows<Row> {
  const search = searchRows<Row, Iterator<Row>, Iterator<UserEvent>>(options, {
    rows: (limit) => source.rows(limit)[Symbol.iterator](),
    userEvents: (row, after) => source.userEvents(row, after)[Symbol.iterator](),
  });
  let step = search.next();
  while (!step.done) {
    const { from, isEnd } = step.value;
    step = search.next(isEnd ? from.return?.() : from.next());
  }
  return step.value;
}

export async function findPages<Row extends FindRow>(
  options: FindOptions,
  source: PagedFindSource<Row>,
): Promise<FoundRows<Row>> {
  const search = searchRows<Row, AsyncGenerator<Row>, AsyncGenerator<UserEvent>>(options, source);
  let step = search.next();
  while (!step.done) {
    const { from, isEnd } = step.value;
    step = search.next(await (isEnd ? from.return(undefined) : from.next()));
  }
  return step.value;
}

/** Asks its caller for the next item of an iterator, or to end it. */
interface Pull<Rows, Events> {
  readonly from: Rows | Events;
  readonly isEnd: boolean;
}

/** The search, for sources of both kinds: its caller answers each pull with a result of the iterator. */
function* searchRows<Row extends FindRow, Rows, Events>(
  options: FindOptions,
  source: {
    rows(limit: number): Rows;
    userEvents(row: Row, after: string | undefined): Events;
  },
): Generator<Pull<Rows, Events>, FoundRows<Row>, IteratorResult<Row | UserEvent> | undefined> {
  const { from, limit } = options;
  const search = options.search?.toLowerCase();
  const rows: Row[] = [];
  const budget: Budget = { turns: MAX_TURNS, chars: MAX_CHARS };
  const all = source.rows(MAX_ROWS);
  let seen = 0;
  let last: FindCursor | undefined;
  for (;;) {
    const result = yield { from: all, isEnd: false };
    if (result === undefined || result.done) return { rows, next: seen < MAX_ROWS ? undefined : last };
    const row = result.value as Row;
    seen += 1;
    const { id, changedAt } = row;
    last = { id, changedAt };
    if (!isListed(row, options)) continue;
    const isContinued = from?.turnId !== undefined && from.id === id && from.changedAt === changedAt;
    let next: FindCursor | undefined;
    if (search === undefined || (!isContinued && row.publicId.toLowerCase().includes(search))) {
      rows.push(row);
    } else {
      const texts = source.userEvents(row, isContinued ? from.turnId : undefined);
      const found = yield* searchTexts<Rows, Events>(search, texts, budget);
      if (found.isFound) rows.push(row);
      else if (found.stoppedAt !== undefined) next = { ...last, turnId: found.stoppedAt };
    }
    if (next || rows.length >= limit || isSpent(budget)) {
      yield { from: all, isEnd: true };
      return { rows, next: next ?? last };
    }
  }
}

interface Budget {
  turns: number;
  chars: number;
}

const isSpent = ({ turns, chars }: Budget): boolean => turns <= 0 || chars <= 0;

const isListed = (row: FindRow, { agent, state, failed }: FindOptions): boolean =>
  !row.isTrashed &&
  !row.isEphemeral &&
  row.agent === agent &&
  (state === undefined || row.state === state) &&
  (failed === undefined || failed === (row.lastOutcome === 'failed'));

/** Looks for a text of the user. `stoppedAt` is the id of the last turn that the budget sufficed for. */
function* searchTexts<Rows, Events>(
  search: string,
  events: Events,
  budget: Budget,
): Generator<
  Pull<Rows, Events>,
  { isFound: boolean; stoppedAt?: string },
  IteratorResult<FindRow | UserEvent> | undefined
> {
  let stoppedAt: string | undefined;
  for (;;) {
    const result = yield { from: events, isEnd: false };
    if (result === undefined || result.done) return { isFound: false };
    const event = result.value as UserEvent;
    const isSpentNow = stoppedAt !== undefined && isSpent(budget);
    if (!isSpentNow) {
      budget.turns -= 1;
      budget.chars -= event.body.length;
    }
    const isFound = !isSpentNow && textsOf(event).some((text) => text.toLowerCase().includes(search));
    if (isFound || isSpentNow) {
      yield { from: events, isEnd: true };
      return isFound ? { isFound } : { isFound, stoppedAt: stoppedAt! };
    }
    stoppedAt = event.turnId;
  }
}

function textsOf({ kind, body }: UserEvent): string[] {
  const { user_message: message, messages } = JSON.parse(body) as {
    user_message?: unknown;
    messages?: readonly { role?: unknown; content?: unknown }[];
  };
  if (kind === 'turn_accepted') return typeof message === 'string' ? [message] : [];
  // A conversation may start with messages of an earlier one.
  return (messages ?? []).flatMap(({ role, content }) =>
    role === 'user' && typeof content === 'string' ? [content] : [],
  );
}
