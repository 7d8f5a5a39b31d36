// The expected outcomes of the gate matrix. They are stated here by caller and verb, without any code of the gate.
import type { Caller, Kind } from './gate-credentials.ts';
import type { Mode, Software } from './gate-fabric.ts';

/** One row of the matrix. */
export interface Who {
  readonly kind: Kind;
  readonly caller: Caller;
  readonly mode: Mode;
  readonly software: Software;
}

/** Outcomes for the target of the owner, and for one that does not exist. */
type Expected = readonly [existing: string, missing: string];

const both = (outcome: string): Expected => [outcome, outcome];
const NO_EFFECT = both('allowed');
const SILENCE = both('silence');

// A certificate has the roles client and agent. The policy of the matrix permits everything to that of `admin`.
const isAdmin = ({ kind, caller, mode }: Who): boolean =>
  caller === 'admin' && (kind !== 'certificate' || mode === 'policy');
const isOwner = ({ caller }: Who): boolean => caller === 'owner';
const binds = (who: Who): boolean =>
  isAdmin(who) ||
  ['owner', 'other', 'sentinel'].includes(who.caller) ||
  (who.kind === 'certificate' && who.mode === 'roles');
const calls = (who: Who): boolean =>
  (who.mode === 'roles' && who.caller !== 'narrow') || isOwner(who) || isAdmin(who);
const isSentinel = (who: Who): boolean =>
  who.kind !== 'certificate' && ['admin', 'sentinel'].includes(who.caller);
const forbidden = ({ software }: Who): string => (software === 'ours' ? 'AUTH_FORBIDDEN' : 'NO_ROUTE');

type Rule = (who: Who) => Expected;

const ofBind =
  (outcome: (who: Who) => Expected): Rule =>
  (who) =>
    binds(who) ? outcome(who) : both(forbidden(who));
const ofCall =
  (outcome: string): Rule =>
  (who) =>
    calls(who) ? [outcome, 'NO_ROUTE'] : both(forbidden(who));
/** A verb about a conversation or a task: of its owner, and of callers with the right to all. */
const ofOwner =
  (unknown: string, outcome = 'allowed'): Rule =>
  (who) =>
    isOwner(who) || isAdmin(who) ? [outcome, unknown] : both(unknown);
const ofConversation = ofOwner('CONVERSATION_UNKNOWN');
const ofTask = ofOwner('TASK_UNKNOWN');
const ofPage =
  (...readers: Caller[]): Rule =>
  (who) =>
    both(isAdmin(who) || readers.includes(who.caller) ? 'allowed' : 'AUTH_FORBIDDEN');

// A link stands for a key or a token.
const linkOutcome = ({ kind }: Who): string => (kind === 'certificate' ? 'OPERATION_UNSUPPORTED' : 'allowed');

export const EXPECTED: Readonly<Record<string, Rule>> = {
  bind: ofBind(() => both('allowed')),
  'bind over': ofBind(() => ['ADDRESS_IN_USE', 'allowed']),
  'bind over a held address': ofBind((who) => [isOwner(who) ? 'allowed' : 'ADDRESS_IN_USE', 'allowed']),
  'bind at a path': () => both('ADDRESS_FORBIDDEN'),
  unbind: () => NO_EFFECT,
  advertise: ofBind(() => both('ADDRESS_FORBIDDEN')),
  withdraw: () => NO_EFFECT,
  call: ofCall('allowed'),
  'call by path': ofCall('allowed'),
  'call the system mailbox': ofCall('allowed'),
  // The refusal is that of a capability without a provider.
  'call by capability': (who) => (calls(who) ? ['allowed', 'NO_ROUTE'] : both('NO_ROUTE')),
  stream: ofCall('allowed'),
  message: ofCall('silence'),
  'open a secure channel': ofCall('silence'),
  'forged reply': () => SILENCE,
  'forged NACK': () => SILENCE,
  'cancel of a call': () => SILENCE,
  credit: () => SILENCE,
  WhoIs: () => both('NODE_GONE'),
  'forged replyTo': () => both('REPLY_TO_FORGED'),
  'replyTo below the own path': (who) => both(isSentinel(who) ? 'allowed' : 'REPLY_TO_FORGED'),
  'take over a session': (who) => [isOwner(who) ? 'allowed' : 'own session', 'own session'],
  'renew with the token of another': () => both('AUTH_FORBIDDEN'),
  'attach as a peer': (who) => (isSentinel(who) ? ['allowed', 'ADMIT_REFUSED'] : both('AUTH_FORBIDDEN')),

  run_turn: ofConversation,
  'run_turn again': ofConversation,
  run_turn_stream: ofConversation,
  get_history: ofConversation,
  get_turn: ofConversation,
  get_prompt: ofConversation,
  read_events: ofConversation,
  'read_events, followed': ofConversation,
  fork: ofConversation,
  answer_approval: ofOwner('CONVERSATION_UNKNOWN', 'APPROVAL_UNKNOWN'),
  'tasks/get of a conversation': ofTask,
  'tasks/resubscribe of a conversation': ofTask,
  'name its owner': ofOwner('not listed'),
  cancel_turn: ofConversation,
  end_conversation: () => NO_EFFECT,
  // It has ended.
  'tasks/cancel of a conversation': ofOwner('TASK_UNKNOWN', 'TASK_NOT_CANCELABLE'),
  'tasks/get': ofTask,
  'tasks/resubscribe': ofTask,
  'push configuration, set': ofTask,
  'push configuration, get': ofTask,
  'push configurations, list': ofTask,
  'push configuration, delete': ofTask,
  // The list has the caller's own tasks, also for callers with the right to all.
  'tasks/list': (who) => [isOwner(who) ? 'allowed' : 'not listed', 'not listed'],
  'tasks/cancel': ofTask,
  'start_task with its id': (who) => [isOwner(who) ? 'CONVERSATION_EXISTS' : 'allowed', 'allowed'],
  'tasks/send with its id': (who) => [isOwner(who) || isAdmin(who) ? 'TASK_EXISTS' : 'allowed', 'allowed'],

  nodes: ofPage('door'),
  trace: ofPage(),
  metrics: ofPage(),
  'nodes, followed': ofPage('door'),
  history: ofPage(),
  doctor: ofPage(),
  session: () => both('allowed'),
  'sign-in link': (who) => both(isAdmin(who) ? linkOutcome(who) : 'AUTH_FORBIDDEN'),
  'disconnect a node': (who) => both(isAdmin(who) ? 'NO_ROUTE' : 'AUTH_FORBIDDEN'),
  'drain a node': (who) => both(isAdmin(who) ? 'NO_ROUTE' : 'AUTH_FORBIDDEN'),
  'attach over HTTP': () => both('OPERATION_UNSUPPORTED'),
};
