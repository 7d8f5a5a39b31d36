// The targets of one row of the gate matrix. They belong to the owner: an address with a node, a call without an answer, a held
// address, a conversation, and a task. A second set of the same form names targets that do not exist.
import { id, type Json, type RawNode } from '../raw-node.ts';
import type { Credential } from './gate-credentials.ts';
import { CHAT, type GateFabric, WORK } from './gate-fabric.ts';

export interface Target {
  readonly address: string;
  readonly capability: string;
  /** Path of the node that serves the address. */
  readonly path: string;
  /** The open call to the address. */
  readonly corrId: string;
  readonly replyTo: string;
  readonly flowId: string;
  /** Address whose node has left. */
  readonly held: string;
  readonly conversation: string;
  readonly turn: string;
  readonly task: string;
  readonly peerId: string;
  /** A connected node of the owner that another one may try to take over. */
  readonly systemId: string;
  readonly instanceId: string;
  readonly resumeToken: string;
}

/** The changes that the caller of a row may make. */
export interface Permitted {
  readonly mayCall: boolean;
  readonly isSeatTaken: boolean;
}

/** A state of the targets that no refused verb may change. */
export type State = Readonly<Record<string, unknown>>;

const message = { role: 'user', parts: [{ type: 'text', text: 'go' }] };
let rows = 0;

const resultOf = (answer: Json): Json => {
  const { result, error } = answer.frame.payload ?? {};
  if (error !== undefined || result === undefined) throw new Error(JSON.stringify(answer.frame));
  return result;
};

export class GateTargets {
  readonly existing: Target;
  /** Of the same form, and unknown to the fabric. */
  readonly missing: Target;
  readonly #vault: RawNode;
  readonly #caller: RawNode;
  readonly #seat: RawNode;
  readonly #request: Json;
  /** Requests that reached the vault besides the open call. */
  #reached = 0;

  private constructor(parts: {
    existing: Target;
    missing: Target;
    vault: RawNode;
    caller: RawNode;
    seat: RawNode;
    request: Json;
  }) {
    this.existing = parts.existing;
    this.missing = parts.missing;
    this.#vault = parts.vault;
    this.#caller = parts.caller;
    this.#seat = parts.seat;
    this.#request = parts.request;
    this.#vault.onRequest((request, node) => {
      this.#reached++;
      node.answer(request, 'from the vault');
    });
  }

  static async make(fabric: GateFabric, owner: Credential, peerIds: Iterator<string>): Promise<GateTargets> {
    const n = ++rows;
    const address = `vault-${n}@fame.fabric`;
    const held = `held-${n}@fame.fabric`;
    const capability = `vault-${n}`;
    const [vault, caller, seat, leaver] = await Promise.all(
      Array.from({ length: 4 }, () => fabric.attached(owner)),
    );
    await vault!.serve(address);
    await vault!.advertise(address, [capability]);
    await leaver!.serve(held);
    await leaver!.close();
    const flowId = id();
    const sent = caller!.sendCall(address, 'wait', {}, { flowId });
    const request = await vault!.next((one) => one.corrId === sent.corrId);
    const chat = (method: string, params: Json) => caller!.call(CHAT, method, params);
    const conversation = id();
    const turn = id();
    resultOf(await chat('start_task', { id: conversation }));
    resultOf(
      await chat('run_turn', { conversation_id: conversation, user_message: 'secret', turn_id: turn }),
    );
    const task = id();
    resultOf(await caller!.call(WORK, 'tasks/send', { id: task, message }));
    const existing: Target = {
      address,
      capability,
      path: vault!.path,
      corrId: sent.corrId,
      replyTo: sent.replyTo,
      flowId,
      held,
      conversation,
      turn,
      task,
      peerId: peerIds.next().value,
      systemId: seat!.systemId,
      instanceId: seat!.instanceId,
      resumeToken: seat!.ack.frame.resumeToken,
    };
    const ghost = id();
    const missing: Target = {
      ...existing,
      address: `ghost-${n}@fame.fabric`,
      capability: `ghost-${n}`,
      path: vault!.path.replace(vault!.systemId, ghost),
      corrId: id(),
      replyTo: sent.replyTo.replace(caller!.systemId, ghost),
      flowId: id(),
      held: `unheld-${n}@fame.fabric`,
      conversation: id(),
      turn,
      task: id(),
      peerId: `unknown-${n}`,
      systemId: ghost,
      instanceId: id(),
      resumeToken: id(),
    };
    return new GateTargets({ existing, missing, vault: vault!, caller: caller!, seat: seat!, request });
  }

  /** Number of requests that reached the vault. */
  get reached(): number {
    return this.#reached;
  }

  /** Reads the conversation and the task as their owner. */
  async state(): Promise<State> {
    const { conversation, task } = this.existing;
    const [events, { status, artifacts }] = await Promise.all([
      this.#caller.call(CHAT, 'read_events', { conversation_id: conversation }).then(resultOf),
      this.#caller.call(WORK, 'tasks/get', { id: task }).then(resultOf),
    ]);
    const push = await this.#caller.call(WORK, 'tasks/pushNotification/get', { id: task });
    return {
      events,
      task: { status, artifacts },
      push: push.frame.payload.error?.data ?? push.frame.payload.result,
    };
  }

  /**
   * Proves that the rest is as it was: the call is open, its callee may answer it, the address and the seat belong to their nodes, and
   * no message of a caller that may not send it arrived. Throws otherwise.
   */
  async check({ mayCall, isSeatTaken }: Permitted): Promise<void> {
    const { address, corrId } = this.existing;
    const nodes = [this.#caller, ...(mayCall ? [] : [this.#vault]), ...(isSeatTaken ? [] : [this.#seat])];
    await Promise.all(nodes.map((node) => node.heartbeat()));
    for (const node of nodes) {
      if (node.inbox.length > 0) throw new Error(`a node of the owner received ${node.describeInbox()}`);
    }
    const before = this.#reached;
    this.#vault.answer(this.#request, 'right');
    const answer = await this.#caller.next((one) => one.corrId === corrId, 2_000);
    if (resultOf(answer) !== 'right') throw new Error('the open call has another answer');
    const called = await this.#caller.call(address, 'any');
    if (resultOf(called) !== 'from the vault' || this.#reached !== before + 1)
      throw new Error('the address has another node');
  }
}
