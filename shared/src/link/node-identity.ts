// The identity of this node, as the last NodeAttachAck assigned it. All parts of a link share one object.
import { newId } from '../ids.ts';
import { REPLY_PREFIX, SYSTEM_PARTICIPANT } from '../protocol/address.ts';
import type { EnvelopeHeader } from '../protocol/envelope.ts';

/** Header fields of an outgoing message. Undefined fields are omitted on the wire. */
export type HeaderFields = Pick<
  EnvelopeHeader,
  | 'traceId'
  | 'to'
  | 'replyTo'
  | 'capabilities'
  | 'rtype'
  | 'corrId'
  | 'flowId'
  | 'seqId'
  | 'flowFlags'
  | 'ttl'
  | 'meta'
>;

export class NodeIdentity {
  /** The main flow: of control frames and, at a foreign sentinel, of requests and unary answers. */
  readonly flowId = newId();
  readonly #sidOf: ((path: string) => string) | undefined;
  readonly #replyParticipant = `${REPLY_PREFIX}${newId()}`;
  /** Path such as `/sentinel/node`. Empty before the first attach. */
  path = '';
  sid: string | undefined;
  systemAddress = '';
  replyAddress = '';
  #atPath = '';

  constructor(sidOf: ((path: string) => string) | undefined) {
    this.#sidOf = sidOf;
  }

  /** Takes the path that a NodeAttachAck assigns. */
  adopt(path: string): void {
    if (path === this.path) return;
    this.path = path;
    this.sid = this.#sidOf?.(path);
    this.#atPath = `@${path}`;
    this.systemAddress = `${SYSTEM_PARTICIPANT}${this.#atPath}`;
    this.replyAddress = `${this.#replyParticipant}${this.#atPath}`;
  }

  /** The complete header of an outgoing message. All of it precedes the frame, because routers read no further. */
  header(fields: HeaderFields): Partial<EnvelopeHeader> {
    // One object shape for all messages; JSON omits undefined fields.
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
      ttl: fields.ttl,
      meta: fields.meta,
    };
  }

  /** True if an address names a participant at this node's own path. */
  isOwn(address: string): boolean {
    return this.path !== '' && address.endsWith(this.#atPath);
  }
}
