// The patterns of a key (`fame key add NAME --allow PATTERN`): each names addresses that the key may call and bind, or with an action in
// front, such as `Call:math@**`, only may do this. They restrict a key and grant nothing.
import { type Action, findWord } from './actions.ts';
import { compileGlob, type Glob, globFault } from './glob.ts';

const RESTRICTED = Object.freeze(['Call', 'Bind', 'Advertise'] as const);
type Restricted = (typeof RESTRICTED)[number];

export interface AllowItem {
  /** Undefined for all three. */
  readonly action: Restricted | undefined;
  readonly glob: Glob;
}

/** Describes why `text` is no pattern; `undefined` if it is one. */
export function allowFault(text: string): string | undefined {
  const { word, action, pattern } = partsOf(text);
  if (word !== undefined && action === undefined) return `the action must be one of ${RESTRICTED.join(', ')}`;
  return pattern === '' ? 'it is empty' : globFault(pattern);
}

/** Compiles the patterns of a key. A faulty one matches nothing. */
export const compileAllow = (texts: readonly string[]): AllowItem[] =>
  texts
    .filter((text) => allowFault(text) === undefined)
    .map(partsOf)
    .map(({ action, pattern }) => ({ action, glob: compileGlob(pattern) }));

function partsOf(text: string) {
  const [, word, rest] = /^([A-Za-z_-]+):(.*)$/.exec(text) ?? [];
  const action = word === undefined ? undefined : findWord(word, RESTRICTED);
  return { word, action, pattern: rest ?? text };
}

/** True if `action` on `address` needs an item of the list. */
export const isRestricted = (action: Action): boolean =>
  RESTRICTED.some((one) => one === action) || action.startsWith('Forward') || action === 'DeliverLocal';

/** True if an item of the list matches. */
export function isListed(items: readonly AllowItem[], action: Action, address: string | undefined): boolean {
  if (address === undefined) return false;
  const wanted = action.startsWith('Forward') || action === 'DeliverLocal' ? 'Call' : action;
  return items.some(
    (item) => (item.action === undefined || item.action === wanted) && item.glob.matches(address),
  );
}
