// Addresses: `participant@location`, split at the last "@". The location is a host (`fame.fabric`, `*.fame.fabric`), a
// path (`/sentinel/node`), or a host followed by a path. Addresses are compared as text and never normalized.
import { FabricError } from '../errors/error.ts';
import { cutText } from '../text/cut-text.ts';
import { LIMITS } from './limits.ts';

export interface Address {
  readonly participant: string;
  /** Labels joined by dots, possibly with a leading `*.`. Absent if the location is only a path. */
  readonly host?: string | undefined;
  /** Path with its leading slash. Absent if the location is only a host. */
  readonly path?: string | undefined;
}

const PARTICIPANT = /^[A-Za-z0-9_-]+$/;
const HOST = /^(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/;
const PATH = /^(?:\/[A-Za-z0-9._-]+)+$/;
const SLASH = 47;
const DOT = 46;

/** Participant of a node's system inbox. */
export const SYSTEM_PARTICIPANT = '__sys__';
/** Prefix of the participants of reply mailboxes. */
export const REPLY_PREFIX = '__rpc__';

/** Part of the participant of a replica's own address, `chat-replica-ID@fame.fabric`, before its id of 16 letters and digits. */
export const REPLICA_MARK = '-replica-';
const REPLICA = /-replica-[0-9A-Za-z]{16}@/;

/**
 * Returns the address at which callers reach the agent behind a bound address: that of a pool without its `*.`. Returns `undefined` for the
 * own address of a replica, and for the mailboxes of a node.
 */
export const agentAddressOf = (address: string): string | undefined => {
  const isMailbox = address.startsWith(`${SYSTEM_PARTICIPANT}@`) || address.startsWith(REPLY_PREFIX);
  return isMailbox || REPLICA.test(address) ? undefined : address.replace('@*.', '@');
};

/** Parses an address. @throws {ADDRESS_INVALID} when it does not follow the grammar or is longer than 256 bytes */
export function parseAddress(text: string): Address {
  const address = tryParseAddress(text);
  if (!address) {
    const quoted = cutText(String(text), 80);
    throw new FabricError(
      'ADDRESS_INVALID',
      `"${quoted}" is not an address: expected participant@host, such as chat@fame.fabric`,
    );
  }
  return address;
}

/** Parses an address. Returns `undefined` if it does not follow the grammar. */
export function tryParseAddress(text: string): Address | undefined {
  if (typeof text !== 'string' || text.length > LIMITS.maxAddressBytes) return undefined;
  const at = text.lastIndexOf('@');
  if (at <= 0) return undefined;
  const participant = text.slice(0, at);
  if (!PARTICIPANT.test(participant)) return undefined;
  const location = text.slice(at + 1);
  const slash = location.indexOf('/');
  const host = slash < 0 ? location : location.slice(0, slash);
  const path = slash < 0 ? '' : location.slice(slash);
  if (host === '' && path === '') return undefined;
  if (host !== '' && !HOST.test(host)) return undefined;
  if (path !== '' && !PATH.test(path)) return undefined;
  return { participant, host: host || undefined, path: path || undefined };
}

/** The text after the last `@` of an address, whether or not the address follows the grammar. */
export const locationOf = (address: string): string => address.slice(address.lastIndexOf('@') + 1);

/** True if `path` is `root` or lies below it. */
export const isUnder = (path: string, root: string): boolean =>
  path === root ||
  (path.length > root.length && path.startsWith(root) && path.charCodeAt(root.length) === SLASH);

/** True if `host` belongs to the pool `pattern`: `*.fame.fabric` includes `fame.fabric` and every host below it. */
export const poolMatches = (pattern: string, host: string): boolean => {
  const suffix = pattern.slice(2);
  return (
    host === suffix || (host.endsWith(suffix) && host.charCodeAt(host.length - suffix.length - 1) === DOT)
  );
};
