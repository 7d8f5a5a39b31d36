// The expected outcomes of the matrix of the doors. They are stated here by caller and permission, without any code of the doors.
import { type Admitted, FAULTY, type Faulty, SUM } from './door-fabric.ts';
import type { DoorName, DoorVerb } from './door-verbs.ts';

/** Refusals of a door: the HTTP status, then the code in the form of the protocol. */
interface Refusals {
  /** No valid credential; our code follows. */
  readonly unauthenticated: string;
  /** An agent that does not exist, or that the caller may not call. */
  readonly agent: string;
  /** A conversation, a turn or a task that does not exist, or belongs to another caller. */
  readonly target: string;
  /** Verbs that differ. `own` is the outcome for a target that the caller may use. */
  readonly verbs?: Readonly<Record<string, { agent?: string; target?: string; own?: string }>>;
}

const noTaskFound = '200 TASK_NOT_FOUND TASK_UNKNOWN';
const conversation = { target: '404 CONVERSATION_UNKNOWN', agent: '404 CONVERSATION_UNKNOWN' };
const unsupported = '501 OPERATION_UNSUPPORTED';
const A2A = { unauthenticated: '401 INTERNAL_ERROR', agent: '404 INTERNAL_ERROR NO_ROUTE' };
/** A tool of an agent that the caller may not call is unknown. */
const noTool = { agent: '200 -32602 METHOD_NOT_FOUND' };
/** Tasks and resources name their agent in an opaque id, so that a refusal does not tell whether the agent exists. */
const noTask = { agent: '200 -32602 TASK_UNKNOWN', target: '200 -32602 TASK_UNKNOWN' };
const noResource = { agent: '200 -32602', target: '200 -32602' };
const MCP: Refusals = {
  unauthenticated: '401 -32000',
  agent: '200 tool NO_ROUTE',
  target: '200 tool CONVERSATION_UNKNOWN',
  verbs: {
    'start by tool': noTool,
    'read a conversation': noResource,
    'read events': noTool,
    'read a turn': noTool,
    cancel: noTool,
    'poll a task': noTask,
    'answer a task': noTask,
    'cancel a task': noTask,
    'poll a task of an agent': noTask,
    'cancel a task of an agent': noTask,
  },
};

const REFUSALS: Readonly<Record<DoorName, Refusals>> = {
  'Chat Completions': { unauthenticated: '401', agent: '404 model_not_found', target: 'none' },
  Responses: {
    unauthenticated: '401',
    agent: '404 TURN_UNKNOWN',
    target: '404 TURN_UNKNOWN',
    verbs: {
      start: { agent: '404 model_not_found' },
      'start, streamed': { agent: '404 model_not_found' },
      'start in the background': { agent: '404 model_not_found' },
      'start a conversation': { agent: '404 model_not_found' },
      'read the conversation': conversation,
      'read the items': conversation,
      'read the items of an id of another door': conversation,
      'continue a response': { agent: '404 model_not_found', target: '400 previous_response_not_found' },
      'continue a conversation': { agent: '404 model_not_found', target: '404 CONVERSATION_UNKNOWN' },
      delete: { own: unsupported },
      'delete the conversation': { ...conversation, own: unsupported },
    },
  },
  'A2A JSON-RPC': {
    ...A2A,
    target: noTaskFound,
    // The turn has ended. The next message of the context is another task.
    verbs: { 'continue a task': { own: '200 UNSUPPORTED_OPERATION' } },
  },
  'A2A HTTP+JSON': {
    ...A2A,
    target: '404 TASK_NOT_FOUND TASK_UNKNOWN',
    verbs: { 'continue a task': { own: '400 UNSUPPORTED_OPERATION' } },
  },
  // Errors of JSON-RPC have no details in this version.
  'A2A 0.3': { ...A2A, target: '200 -32001', verbs: { 'continue a task': { own: '200 -32004' } } },
  'MCP 2026-07-28': MCP,
  'MCP 2025-11-25': MCP,
  HTTP: { unauthenticated: '401', agent: '404 NO_ROUTE', target: '404 CONVERSATION_UNKNOWN' },
  // Its clients know this code from the gateway of naylence. The gate refuses by the address, whether the agent exists or not.
  gateway: {
    unauthenticated: '401',
    agent: '403 AUTH_FORBIDDEN',
    target: '404 CONVERSATION_UNKNOWN',
    // A message has no answer. The test checks that it does not arrive.
    verbs: { message: { agent: 'allowed' } },
  },
};

/** The others can call the agent with an operation only. */
const callsAll = (caller: Admitted): boolean => caller !== 'narrow' && caller !== 'denied';

/** The callers that may use a conversation or a task of the owner. */
const USERS: Readonly<Record<'conversation' | 'task', readonly Admitted[]>> = {
  conversation: ['owner', 'friend', 'local'],
  task: ['owner', 'local'],
};

/** True if a list of the caller has the agent, the conversation or the task of the owner. Undefined if the list may have it. */
export function isListed(caller: Admitted, lists: 'agents' | 'conversation' | 'task'): boolean | undefined {
  if (lists === 'agents') return callsAll(caller);
  if (caller === 'owner') return true;
  return USERS[lists].includes(caller) ? undefined : false;
}

/** Outcomes for the target of the owner, and for one that does not exist. */
export function expectedOf(
  door: DoorName,
  name: string,
  { needs }: DoorVerb,
  caller: Admitted | Faulty,
): readonly [existing: string, missing: string] {
  const { unauthenticated, ...refusals } = REFUSALS[door];
  const both = (outcome: string) => [outcome, outcome] as const;
  const { agent = refusals.agent, target: given, own = 'allowed' } = refusals.verbs?.[name] ?? {};
  if (needs === 'nothing' || (needs === 'public' && caller === 'none')) return both('allowed');
  if (isFaulty(caller)) return both(`${unauthenticated} ${FAULTY[caller]}`);
  if (needs === 'session') return [caller === 'owner' ? 'allowed' : '404 -32001', '404 -32001'];
  if (needs === 'caller' || needs === SUM) return both('allowed');
  if (!callsAll(caller)) return both(agent);
  if (needs !== 'conversation' && needs !== 'task') return both('allowed');
  const target = given ?? (needs === 'task' ? taskOf(refusals.target) : refusals.target);
  return [USERS[needs].includes(caller) ? own : target, target];
}

const isFaulty = (caller: Admitted | Faulty): caller is Faulty => Object.hasOwn(FAULTY, caller);

const taskOf = (target: string): string => target.replace('CONVERSATION_UNKNOWN', 'TASK_UNKNOWN');
