// Who this node is, as the sentinel said in its last NodeAttachAck. One object, shared by all parts of a link.
import { newId } from '../ids.ts';
import { REPLY_PREFIX, SYSTEM_PARTICIPANT } from '../protocol/address.ts';
import type { EnvelopeHeader } from '../protocol/envelope.ts';

/** Header fields of a message that this node makes; `undefined` is left out on the wire. */
export interface HeaderFields {
  traceId?: string | undefined;
  to?: string | undefined;
  replyTo?: string | undefined;
  capabilities?: string[] | undefined;
  rtype?: number | undefined;
  corrId?: string | undefined;
  flowId?: string;
  seqId?: number | undefined;
  flowFlags?: number | undefined;
  meta?: Record<string, unknown> | undefined;
}

export class NodeIdentity {
  /** The flow of calls, unary replies and control frames. */
  readonly flowId = newId();
  readonly #sidOf: ((path: string) => string) | undefined;
  readonly #replyParticipant = `${REPLY_PREFIX}${newId()}`;
  /** `/sentinel/node`; empty before the first attach. */
  path = '';
  sid: string | undefined;
  systemAddress = '';
  replyAddress = '';
  #atPath = '';

  constructor(sidOf: ((path: string) => string) | undefined) {
    this.#sidOf = sidOf;
  }

  adopt(path: string): void {
    if (path === this.path) return;
    this.path = path;
    this.sid = this.#sidOf?.(path);
    this.#atPath = `@${path}`;
    this.systemAddress = `${SYSTEM_PARTICIPANT}${this.#atPath}`;
    this.replyAddress = `${this.#replyParticipant}${this.#atPath}`;
  }

  /** The header of a message of this node. It is complete, so that all of it stands before the frame: routers read no further. */
  header(fields: HeaderFields): Partial<EnvelopeHeader> {
    // JSON leaves undefined fields out, which is cheaper than building objects of many shapes.
    return {
      sid: this.sid,
      traceId: fields.traceId,
      to: fields.to,
      replyTo: fields.replyTo,
      capabilities: fields.capabilities,
      rtype: fields.rtype,
      corrId: fields.corrId,
      flowId: fields.flowId ?? this.flowId,
      seqId: fields.seqId,
      flowFlags: fields.flowFlags,
      meta: fields.meta,
    } as Partial<EnvelopeHeader>;
  }

  /** Whether an address is a participant at this node's own path. */
  isOwn(address: string): boolean {
    return this.path !== '' && address.endsWith(this.#atPath);
  }
}
