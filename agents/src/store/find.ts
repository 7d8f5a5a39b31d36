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

export function find<Row extends FindRow>(
  options: FindOptions,
  source: FindSource<Row>,
): { rows: Row[]; next: FindCursor | undefined } {
  const { from, limit } = options;
  const search = options.search?.toLowerCase();
  const rows: Row[] = [];
  const budget: Budget = { turns: MAX_TURNS, chars: MAX_CHARS };
  let seen = 0;
  let last: FindCursor | undefined;
  for (const row of source.rows(MAX_ROWS)) {
    seen += 1;
    const { id, changedAt } = row;
    last = { id, changedAt };
    if (!isListed(row, options)) continue;
    const isContinued = from?.turnId !== undefined && from.id === id && from.changedAt === changedAt;
    if (search === undefined || (!isContinued && row.publicId.toLowerCase().includes(search))) {
      rows.push(row);
    } else {
      const texts = source.userEvents(row, isContinued ? from.turnId : undefined);
      const result = searchTexts(search, texts, budget);
      if (result.isFound) rows.push(row);
      else if (result.stoppedAt !== undefined) return { rows, next: { ...last, turnId: result.stoppedAt } };
    }
    if (rows.length >= limit || isSpent(budget)) return { rows, next: last };
  }
  return { rows, next: seen < MAX_ROWS ? undefined : last };
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
function searchTexts(
  search: string,
  events: Iterable<UserEvent>,
  budget: Budget,
): { isFound: boolean; stoppedAt?: string } {
  let stoppedAt: string | undefined;
  for (const event of events) {
    if (stoppedAt !== undefined && isSpent(budget)) return { isFound: false, stoppedAt };
    budget.turns -= 1;
    budget.chars -= event.body.length;
    if (textsOf(event).some((text) => text.toLowerCase().includes(search))) return { isFound: true };
    stoppedAt = event.turnId;
  }
  return { isFound: false };
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
