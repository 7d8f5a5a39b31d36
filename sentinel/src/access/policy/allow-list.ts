// The patterns of a key (`fame key add NAME --allow PATTERN`): each names addresses that the key may call and bind, or with an action in
// front, such as `Call:math@**`, only may do this. They restrict a key and grant nothing.
import { FabricError } from '@fame-fabric/shared/router';
import { type Action, findWord } from './actions.ts';
import { compileGlob, type Glob, globFault } from './glob.ts';

const RESTRICTED = Object.freeze(['Call', 'Bind', 'Advertise'] as const);
type Restricted = (typeof RESTRICTED)[number];

export interface AllowItem {
  /** Undefined for all three. */
  readonly action: Restricted | undefined;
  readonly glob: Glob;
}

/** Reads one pattern. @throws {CONFIG_INVALID} */
export function parseAllow(text: string): AllowItem {
  const [, word, rest] = /^([A-Za-z_-]+):(.*)$/.exec(text) ?? [];
  const pattern = (rest ?? text).trim();
  const action = word === undefined ? undefined : findWord(word, RESTRICTED);
  const fault = pattern === '' ? 'it is empty' : globFault(pattern);
  if (word !== undefined && action === undefined) {
    throw new FabricError('CONFIG_INVALID', `--allow "${text}": the action must be ${RESTRICTED.join(', ')}`);
  }
  if (fault !== undefined) throw new FabricError('CONFIG_INVALID', `--allow "${text}": ${fault}`);
  return { action, glob: compileGlob(pattern) };
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
