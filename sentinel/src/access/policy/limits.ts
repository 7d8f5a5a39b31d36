// Limits of the policy file for the resources of one principal. `access/quotas.ts` enforces them.
import type { Principal } from '@fame-fabric/shared';
import type { Glob } from './glob.ts';

/** Limits of one principal; a field that no entry states is undefined. 0 forbids. */
export interface PrincipalLimits {
  readonly sessions?: number | undefined;
  readonly addresses?: number | undefined;
  readonly openCalls?: number | undefined;
  readonly streams?: number | undefined;
  readonly messagesPerSecond?: number | undefined;
  readonly messageBurst?: number | undefined;
  readonly bytesPerSecond?: number | undefined;
  readonly byteBurst?: number | undefined;
  readonly turnsPerMinute?: number | undefined;
  readonly tokensPerDay?: number | undefined;
  /** In the currency of the price list. */
  readonly moneyPerDay?: number | undefined;
}

/** Fields of an entry, by their name in the file. */
export const LIMIT_FIELDS: Readonly<Record<string, keyof PrincipalLimits>> = Object.freeze({
  sessions: 'sessions',
  addresses: 'addresses',
  open_calls: 'openCalls',
  streams: 'streams',
  messages_per_second: 'messagesPerSecond',
  message_burst: 'messageBurst',
  bytes_per_second: 'bytesPerSecond',
  byte_burst: 'byteBurst',
  turns_per_minute: 'turnsPerMinute',
  tokens_per_day: 'tokensPerDay',
  money_per_day: 'moneyPerDay',
});

/** The principals that a rule or an entry of the limits applies to. */
export interface Subject {
  /** Globs of ids; undefined matches every principal. */
  readonly principals: readonly Glob[] | undefined;
  /** Globs of roles, one of which must match; undefined matches also principals without a role. */
  readonly roles: readonly Glob[] | undefined;
}

export const matchesSubject = ({ principals, roles }: Subject, { id, roles: own }: Principal): boolean =>
  (principals === undefined || principals.some((glob) => glob.matches(id))) &&
  (roles === undefined || roles.some((glob) => own.some((role) => glob.matches(role))));

export interface LimitEntry extends Subject {
  readonly limits: PrincipalLimits;
}

/** Merges the entries that match: for each field the first one that states it. */
export function limitsOf(entries: readonly LimitEntry[], principal: Principal): PrincipalLimits {
  const matching = entries.filter((entry) => matchesSubject(entry, principal)).reverse();
  return Object.assign({}, ...matching.map(({ limits }) => limits)) as PrincipalLimits;
}
