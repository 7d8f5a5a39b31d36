// The actions of an administrator on one node of this sentinel.
import type { Guard } from '../access/guard.ts';
import { CLOSE } from '../close-codes.ts';
import type { SessionTable } from './session-table.ts';
import type { Sessions } from './sessions.ts';

/** Names of the actions, as the audit log has them. */
export const NODE_ACTIONS = ['Disconnect', 'Drain'] as const;
export type NodeActionName = (typeof NODE_ACTIONS)[number];

export interface NodeAction {
  readonly name: NodeActionName;
  /** Path of the node. */
  readonly path: string;
  /** Id of the principal that requested the action. */
  readonly principal: string;
  /** IP address of its connection. */
  readonly remote: string;
}

/** The node after the action. */
export interface ActedNode {
  readonly path: string;
  readonly state: string;
  readonly isDraining: boolean;
}

export interface NodeActionsDeps {
  guard: Guard;
  table: SessionTable;
  sessions: Sessions;
}

export class NodeActions {
  readonly #deps: NodeActionsDeps;

  constructor(deps: NodeActionsDeps) {
    this.#deps = deps;
  }

  /** Records the action and runs it. Returns `undefined` if no node is attached at its path. */
  run(action: NodeAction): ActedNode | undefined {
    const { guard, sessions, table } = this.#deps;
    const { name, path } = action;
    const session = table.byPath(path);
    // A session of the kind `member` is another sentinel of the cluster, and no node.
    if (session === undefined || session.kind === 'member') return undefined;
    guard.acted(action);
    // The node may attach again: its key decides whether it may, not this action.
    if (name === 'Disconnect')
      sessions.end(session, CLOSE.serviceRestart, 'an administrator disconnected this node');
    else session.isDraining = true;
    return { path, state: session.state, isDraining: session.isDraining };
  }
}
