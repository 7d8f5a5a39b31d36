// The words of the policy language: actions, roles and origins.
import type { Role } from '@fame-fabric/shared';

/** Directions in which a sentinel forwards a message. naylence's policies name them one by one; here a rule for `Call` means all of them. */
export const ROUTE_ACTIONS = Object.freeze([
  'ForwardUpstream',
  'ForwardDownstream',
  'ForwardPeer',
  'DeliverLocal',
] as const);
type RouteAction = (typeof ROUTE_ACTIONS)[number];

/** Actions that naylence's policies do not know. */
export const OWN_ACTIONS = Object.freeze([
  'Call',
  'Bind',
  'Advertise',
  'Watch',
  'Admin',
  'Conversations',
] as const);

/** `default_effect: allow` does not include these: a rule must allow them. */
export const OPERATOR_ACTIONS: ReadonlySet<Action> = new Set(['Watch', 'Admin', 'Conversations']);

export type Action = 'Connect' | RouteAction | (typeof OWN_ACTIONS)[number];

export const ACTIONS: readonly Action[] = Object.freeze(['Connect', ...ROUTE_ACTIONS, ...OWN_ACTIONS]);

export const ROLES: readonly Role[] = Object.freeze(['client', 'agent', 'sentinel', 'door', 'admin']);

/** The direction that a request comes from: a node below this sentinel, its parent, or a peer. */
export const ORIGINS = Object.freeze(['downstream', 'upstream', 'peer', 'local'] as const);
export type Origin = (typeof ORIGINS)[number];

/** A word without case, blanks, hyphens and underscores: `deliver_local` is `DeliverLocal`. */
const plainWord = (text: string): string => text.replace(/[\s_-]+/g, '').toLowerCase();

/** Finds a word of `words`, however it is written. */
export const findWord = <Word extends string>(text: string, words: readonly Word[]): Word | undefined => {
  const wanted = plainWord(text);
  return words.find((word) => plainWord(word) === wanted);
};
