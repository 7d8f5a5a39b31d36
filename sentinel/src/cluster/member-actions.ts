// Actions of an administrator on nodes at other sentinels. The sentinel that received the request has checked the permission; that of the
// node records and runs the action.
import type { Clock } from '@fame-fabric/shared';
import type { Identity } from '../identity.ts';
import { type ActedNode, NODE_ACTIONS, type NodeAction, type NodeActions } from '../session/node-actions.ts';
import type { Bus } from './bus.ts';
import type { Inbox } from './inbox.ts';
import type { Subjects } from './subjects.ts';

/** Longest wait for the other sentinel, in ms. */
const ACT_MS = 2_000;

/** The outcome of an action at another sentinel. */
export type RemoteOutcome =
  | ActedNode
  /** It has no node at the path. */
  | 'no node'
  /** It did not answer in time. The action may have run. */
  | 'no answer';

export interface MemberActionsDeps {
  bus: Bus;
  clock: Clock;
  identity: Identity;
  inbox: Inbox;
  subjects: Subjects;
  actions: NodeActions;
}

export class MemberActions {
  readonly #deps: MemberActionsDeps;

  constructor(deps: MemberActionsDeps) {
    this.#deps = deps;
    const { actions, bus, identity, subjects } = deps;
    bus.subscribe(subjects.actionsOf(identity.id), ({ payload, reply }) => {
      const action = readAction(payload);
      if (action === undefined || reply === '') return;
      bus.publish(reply, Buffer.from(JSON.stringify(actions.run(action) ?? null)));
    });
  }

  /** Requests an action from the sentinel with this id. Never rejects. */
  run(id: string, action: NodeAction): Promise<RemoteOutcome> {
    const { clock, inbox, subjects } = this.#deps;
    const { promise, resolve } = Promise.withResolvers<RemoteOutcome>();
    const finish = (outcome: RemoteOutcome): void => {
      timer.stop();
      end();
      resolve(outcome);
    };
    const timer = clock.after(ACT_MS, () => finish('no answer'));
    const end = inbox.ask(subjects.actionsOf(id), Buffer.from(JSON.stringify(action)), (answer) =>
      finish(answer === undefined ? 'no answer' : readOutcome(answer)),
    );
    return promise;
  }
}

function readAction(payload: Uint8Array): NodeAction | undefined {
  const { name, path, principal, remote } = Object(readJson(payload)) as Partial<NodeAction>;
  const isValid =
    NODE_ACTIONS.some((one) => one === name) &&
    [path, principal, remote].every((text) => typeof text === 'string');
  return isValid ? ({ name, path, principal, remote } as NodeAction) : undefined;
}

function readOutcome(payload: Uint8Array): RemoteOutcome {
  const { path, state, isDraining } = Object(readJson(payload)) as Partial<ActedNode>;
  const isNode = typeof path === 'string' && typeof state === 'string' && typeof isDraining === 'boolean';
  return isNode ? { path, state, isDraining } : 'no node';
}

function readJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    // Not a message of this protocol.
    return undefined;
  }
}
