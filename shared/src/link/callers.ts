// The callers of incoming calls. Only their sentinel knows who they are, and it is asked only for calls whose service reads it.
// It answers for open calls only, because a path may belong to another node by the time a call is handled.
import { ANONYMOUS, type Caller, callerOf, type Principal, readPrincipal } from '../access/principal.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { isFabricError } from '../errors/error.ts';
import { locationOf } from '../protocol/address.ts';
import type { WhoIsAck } from '../protocol/envelope.ts';
import { BEHALF_META } from './behalf.ts';
import type { Control } from './control.ts';
import type { Neighbor } from './neighbor.ts';

/** Code of a WhoIsAck about a call that is not open. */
const CALL_UNKNOWN: ErrorCode = 'NODE_GONE';

/** The part of an incoming call that identifies it. */
interface AnsweredCall {
  readonly corrId: string;
  readonly replyTo: string;
  readonly neighbor: Neighbor;
  readonly meta: Readonly<Record<string, unknown>> | undefined;
  readonly isOver: boolean;
}

export interface CallersDeps {
  control: Control;
  uplink: Neighbor;
  nextAttach: () => Promise<void>;
}

export class Callers {
  /** Principal of this node, as its sentinel stated it. Undefined at a sentinel that does not answer WhoIs. */
  own: Principal | undefined;
  readonly #deps: CallersDeps;

  constructor(deps: CallersDeps) {
    this.#deps = deps;
  }

  /** Returns the caller, or undefined for a call without a replyTo. Never rejects. */
  async of(call: AnsweredCall): Promise<Caller | undefined> {
    const { neighbor, replyTo } = call;
    if (replyTo === '') return undefined;
    // A call of this node to itself does not pass its sentinel.
    const isFromHere = neighbor !== this.#deps.uplink;
    const path = locationOf(replyTo);
    const principal = isFromHere ? (this.own ?? ANONYMOUS) : await this.#principalOf(call);
    return principal ? callerOf(principal, path) : { ...callerOf(ANONYMOUS, path), isUnknown: true };
  }

  /**
   * True if a node of the caller's principal serves `address`. Also true at a sentinel that cannot tell: one of other software or of an earlier
   * version. Never rejects.
   */
  async serves(call: AnsweredCall, address: string): Promise<boolean> {
    const { neighbor, replyTo } = call;
    if (replyTo === '') return false;
    if (neighbor !== this.#deps.uplink || this.own === undefined) return true;
    const ack = await this.#ask(call, address);
    return ack !== undefined && (ack.serves ?? true);
  }

  async #principalOf(call: AnsweredCall): Promise<Principal | undefined> {
    if (this.own === undefined) return ANONYMOUS;
    const ack = await this.#ask(call);
    if (!ack) return undefined;
    // A refusal without this code is from an older sentinel, for a caller behind another one.
    if (!ack.ok) return ack.code === CALL_UNKNOWN ? undefined : ANONYMOUS;
    return readPrincipal(ack.principal) ?? ANONYMOUS;
  }

  // After a lost connection the sentinel still knows the open calls of a session that was resumed, so ask once more.
  async #ask(call: AnsweredCall, serves?: string): Promise<WhoIsAck | undefined> {
    const { control, nextAttach } = this.#deps;
    const { corrId, replyTo: address } = call;
    const request = async (): Promise<WhoIsAck | undefined> => {
      if (call.isOver) return undefined;
      const onBehalf = call.meta?.[BEHALF_META];
      const question = typeof onBehalf === 'string' && serves === undefined ? { onBehalf } : { serves };
      return (await control.request({ type: 'WhoIs', address, corrId, ...question })) as WhoIsAck;
    };
    try {
      return await request().catch(async (error: unknown) => {
        if (!isFabricError(error, 'LINK_CLOSED')) throw error;
        await nextAttach();
        return request();
      });
    } catch {
      return undefined; // no answer, or the link was closed
    }
  }
}
