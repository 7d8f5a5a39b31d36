// A minimal sentinel for tests of links: acknowledges, routes by address and by path, and records every envelope. A test can
// make it refuse, stay silent, lose its state or withhold credit. It is not a router.
import type { Principal } from '../access/principal.ts';
import { memoryDial } from '../link/memory-transport.ts';
import type { LinkSignatures } from '../link/signatures.ts';
import type { Dial, Transport } from '../link/transport.ts';
import { decode, encode } from '../protocol/codec.ts';
import {
  type Envelope,
  FLOW,
  type Frame,
  type FrameOf,
  type FrameType,
  makeEnvelope,
  type NodeAttach,
} from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';

export interface ScriptedNode {
  readonly transport: Transport;
  readonly url: string;
  readonly token: string | undefined;
  systemId: string;
  path: string;
  /** Every envelope received on this connection. */
  readonly received: Envelope[];
  /** Messages of each flow since its last credit grant. */
  readonly ungranted: Map<string, number>;
}

export class ScriptedSentinel {
  id = 'S';
  /** `software` of its NodeAttachAck. `undefined` makes it a foreign sentinel. */
  software: string | undefined = 'fame-fabric/test';
  resumed: boolean | undefined;
  /** Principal of all of its nodes. `undefined` makes it a sentinel that does not answer WhoIs. */
  principal: Principal | undefined;
  /** Set if it signs its frames and answers KeyRequest. It does not verify. */
  signatures: LinkSignatures | undefined;
  /** Keys of its nodes, with their paths. */
  readonly keys = new Map<string, { readonly jwk: unknown; readonly path: string }>();
  /** True if it grants credit for the messages it receives. */
  grantsCredit = true;
  /** True if it records the envelopes it receives. */
  keepsEnvelopes = true;
  /** Called with each envelope before it is handled. Returning false prevents the handling. */
  intercept: ((envelope: Envelope, node: ScriptedNode) => boolean | undefined) | undefined;
  /** True if dials fail as on a closed port. */
  isDown = false;
  dials = 0;
  readonly nodes: ScriptedNode[] = [];
  readonly bound = new Map<string, ScriptedNode>();

  /** Dial function for links in this process. */
  readonly dial: Dial = (url, options) => {
    this.dials++;
    return this.#memoryDial(url, options);
  };
  readonly #memoryDial = memoryDial((transport, url, token) => {
    if (this.isDown) throw new Error('connect ECONNREFUSED');
    this.accept(transport, url, token);
  });

  /** Accepts a connection of any transport. */
  accept(transport: Transport, url = '', token?: string): ScriptedNode {
    const node: ScriptedNode = {
      transport,
      url,
      token,
      systemId: '',
      path: '',
      received: [],
      ungranted: new Map(),
    };
    this.nodes.push(node);
    transport.onMessage = (bytes) => this.#onMessage(node, bytes);
    transport.onClose = () => {
      for (const [address, owner] of this.bound) if (owner === node) this.bound.delete(address);
    };
    return node;
  }

  /** The latest connection. */
  get node(): ScriptedNode {
    return this.nodes.at(-1)!;
  }

  /** Envelopes of one frame type that the latest or the given connection sent. */
  framesOf<T extends FrameType>(type: T, node: ScriptedNode = this.node): Envelope<FrameOf<T>>[] {
    return node.received.filter((envelope) => envelope.frame.type === type) as unknown as Envelope<
      FrameOf<T>
    >[];
  }

  send(node: ScriptedNode, envelope: Envelope): void {
    node.transport.send(encode(envelope));
  }

  answer(node: ScriptedNode, request: Envelope, frame: Frame): void {
    this.sendOwn(node, makeEnvelope(frame, request.corrId === undefined ? {} : { corrId: request.corrId }));
  }

  /** Sends an envelope of the sentinel itself. */
  sendOwn(node: ScriptedNode, envelope: Envelope): void {
    this.signatures?.sign(envelope, `/${this.id}`);
    this.send(node, envelope);
  }

  #onMessage(node: ScriptedNode, bytes: Uint8Array): void {
    const envelope = decode(bytes);
    if (this.keepsEnvelopes) node.received.push(envelope);
    const { frame, flowId } = envelope;
    if (this.grantsCredit && flowId !== undefined && frame.type !== 'CreditUpdate') {
      const ungranted = (node.ungranted.get(flowId) ?? 0) + 1;
      node.ungranted.set(flowId, ungranted % LIMITS.creditReturnAfter);
      if (ungranted === LIMITS.creditReturnAfter) this.grantCredit(node, flowId);
    }
    if (this.intercept?.(envelope, node) === false) return;
    switch (frame.type) {
      case 'NodeAttach':
        this.#attach(node, envelope, frame);
        break;
      case 'AddressBind':
        this.bound.set(frame.address, node);
        this.answer(node, envelope, { type: 'AddressBindAck', ok: true, address: frame.address });
        break;
      case 'AddressUnbind':
        this.bound.delete(frame.address);
        this.answer(node, envelope, { type: 'AddressUnbindAck', ok: true, address: frame.address });
        break;
      case 'CapabilityAdvertise':
      case 'CapabilityWithdraw':
        this.answer(node, envelope, { ...frame, type: `${frame.type}Ack`, ok: true });
        break;
      case 'NodeHeartbeat':
        this.answer(node, envelope, { type: 'NodeHeartbeatAck', ok: true });
        break;
      case 'KeyRequest': {
        const key = this.keys.get(frame.kid ?? '');
        if (this.signatures === undefined || key === undefined) break;
        this.answer(node, envelope, { type: 'KeyAnnounce', physicalPath: key.path, keys: [key.jwk] });
        break;
      }
      case 'WhoIs':
        this.answer(node, envelope, { type: 'WhoIsAck', ok: true, principal: this.principal });
        break;
      case 'Data':
      case 'DeliveryAck':
        this.#route(node, envelope);
        break;
      default:
        break;
    }
  }

  #attach(node: ScriptedNode, envelope: Envelope, { systemId, keys = [] }: NodeAttach): void {
    node.systemId = systemId;
    node.path = `/${this.id}/${systemId}`;
    for (const jwk of keys) this.keys.set((jwk as { kid: string }).kid, { jwk, path: node.path });
    this.answer(node, envelope, {
      type: 'NodeAttachAck',
      ok: true,
      refId: envelope.id,
      targetSystemId: this.id,
      targetPhysicalPath: `/${this.id}`,
      assignedPath: node.path,
      software: this.software,
      resumed: this.resumed,
      keys: this.signatures?.keys,
      principal: this.principal,
    });
  }

  grantCredit(node: ScriptedNode, flowId: string): void {
    this.send(
      node,
      makeEnvelope(
        { type: 'CreditUpdate', flowId, credits: LIMITS.creditWindow },
        { flowId, flowFlags: FLOW.ack },
      ),
    );
  }

  #route(from: ScriptedNode, envelope: Envelope): void {
    const { to } = envelope;
    const path = to?.slice(to.lastIndexOf('@') + 1);
    const target =
      this.bound.get(to ?? '') ?? this.nodes.findLast((node) => node.path === path && node.path !== '');
    if (target && target !== from) this.send(target, envelope);
    else if (
      envelope.replyTo !== undefined &&
      envelope.corrId !== undefined &&
      envelope.frame.type === 'Data'
    ) {
      this.sendOwn(
        from,
        makeEnvelope(
          {
            type: 'DeliveryAck',
            ok: false,
            code: 'NO_ROUTE',
            reason: `Unroutable to ${to}`,
            refId: envelope.id,
          },
          { to: envelope.replyTo, corrId: envelope.corrId },
        ),
      );
    }
  }
}
