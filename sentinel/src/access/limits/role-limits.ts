// Default limits of principals, by role, while the sentinel asks for credentials. The limits of the policy file take precedence.
import type { Principal, Role } from '@fame-fabric/shared';
import type { PrincipalLimits } from '../policy/limits.ts';

/** The limits that a sentinel enforces. Agents enforce the others: turns, tokens and money. */
export const SENTINEL_LIMITS = Object.freeze([
  'sessions',
  'addresses',
  'openCalls',
  'streams',
  'messagesPerSecond',
  'messageBurst',
  'bytesPerSecond',
  'byteBurst',
] as const);

/** Limits of one principal, over all of its sessions. Infinite where there is none. */
export type SentinelLimits = Readonly<Record<(typeof SENTINEL_LIMITS)[number], number>>;

const allOf = (limit: number): SentinelLimits =>
  Object.fromEntries(SENTINEL_LIMITS.map((name) => [name, limit])) as SentinelLimits;

export const UNLIMITED: SentinelLimits = Object.freeze(allOf(Number.POSITIVE_INFINITY));

const CLIENT: SentinelLimits = Object.freeze({
  sessions: 100,
  addresses: 64,
  openCalls: 256,
  streams: 128,
  messagesPerSecond: 200,
  messageBurst: 400,
  bytesPerSecond: 2_000_000,
  byteBurst: 4_000_000,
});

/** Agents and doors send requests for many callers. */
const AGENT: SentinelLimits = Object.freeze({
  sessions: 1_000,
  addresses: 4_096,
  openCalls: 16_384,
  streams: 8_192,
  messagesPerSecond: 20_000,
  messageBurst: 40_000,
  bytesPerSecond: 200_000_000,
  byteBurst: 400_000_000,
});

/** A sentinel forwards the messages of all nodes below it. */
const SENTINEL: SentinelLimits = Object.freeze({
  sessions: 1_000,
  addresses: 65_536,
  openCalls: 262_144,
  streams: 131_072,
  messagesPerSecond: 200_000,
  messageBurst: 400_000,
  bytesPerSecond: 2_000_000_000,
  byteBurst: 4_000_000_000,
});

export const ROLE_LIMITS: Readonly<Record<Role, SentinelLimits>> = Object.freeze({
  client: CLIENT,
  agent: AGENT,
  door: AGENT,
  sentinel: SENTINEL,
  admin: UNLIMITED,
});

/** Defaults of a principal. Of several roles, the highest limit counts. Those without a role have the limits of a client. */
export function defaultLimits({ roles }: Principal): SentinelLimits {
  const highest: Record<string, number> = { ...CLIENT };
  for (const role of roles)
    for (const name of SENTINEL_LIMITS) highest[name] = Math.max(highest[name]!, ROLE_LIMITS[role][name]);
  return highest as SentinelLimits;
}

/** Merges the limits of the policy file into the defaults. A rate that states no burst has a burst of two seconds. */
export function mergeLimits(stated: PrincipalLimits, defaults: SentinelLimits): SentinelLimits {
  const burstOf = (rate: number | undefined, burst: number): number =>
    rate === undefined ? burst : 2 * rate;
  const merged: Record<string, number> = {
    ...defaults,
    messageBurst: burstOf(stated.messagesPerSecond, defaults.messageBurst),
    byteBurst: burstOf(stated.bytesPerSecond, defaults.byteBurst),
  };
  for (const name of SENTINEL_LIMITS) merged[name] = stated[name] ?? merged[name]!;
  return merged as SentinelLimits;
}
