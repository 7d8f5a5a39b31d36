// The order of tasks and the tokens of pages: latest status first. A token names the last task of a page.
import { RequestMalformedError } from './sdk.ts';

const MAX_TOKEN_CHARS = 2_048;

/** Position of a task in the order. */
export interface TaskPlace {
  /** Time of its status, in ms since the epoch. */
  readonly at: number;
  readonly id: string;
}

/** Compares two tasks: the later status first, then by id. */
export const byPlace = (a: TaskPlace, b: TaskPlace): number =>
  b.at - a.at || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0);

const pageTokenOf = ({ at, id }: TaskPlace): string =>
  Buffer.from(JSON.stringify([at, id])).toString('base64url');

/** Reads a token. Undefined for the first page. @throws RequestMalformedError */
export function readPageToken(token: string): TaskPlace | undefined {
  if (token === '') return undefined;
  if (token.length <= MAX_TOKEN_CHARS && /^[\w-]+$/.test(token)) {
    try {
      const [at, id] = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown[];
      if (typeof at === 'number' && typeof id === 'string') return { at, id };
    } catch {
      // The text is not JSON: reported below.
    }
  }
  throw new RequestMalformedError('pageToken: it is not the nextPageToken of a page');
}

/** Cuts the page after `from` out of all tasks, in any order. */
export function pageOf<T extends TaskPlace>(
  tasks: readonly T[],
  from: TaskPlace | undefined,
  size: number,
): { page: T[]; nextPageToken: string } {
  const rest = tasks.filter((task) => from === undefined || byPlace(from, task) < 0).sort(byPlace);
  const page = rest.slice(0, size);
  return { page, nextPageToken: rest.length > page.length ? pageTokenOf(page.at(-1)!) : '' };
}
