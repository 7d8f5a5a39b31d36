// The callers of incoming calls. Only their sentinel knows who they are, and it is asked only for calls whose service reads it.
// It answers for open calls only, because a path may belong to another node by the time a call is handled. A node that reads its callers
// asks the sentinel to state those of its next calls, which saves a round trip for each (docs/decisions/0068). Such a statement is valid
// only for the message that follows it on the connection.
import { ANONYMOUS, type Caller, callerOf, type Principal, readPrincipal } from '../access/principal.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { isFabricError } from '../errors/error.ts';
import { locationOf } from '../protocol/address.ts';
import type { WhoIs, WhoIsAck } from '../protocol/envelope.ts';
import { BEHALF_META } from './behalf.ts';
import type { Control } from './control.ts';
import type { Neighbor } from './neighbor.ts';

/** Code of a WhoIsAck about a call that is not open. */
const CALL_UNKNOWN: ErrorCode = 'NODE_GONE';

/** Number of calls whose callers the sentinel states after the first question. It doubles with each further question. */
const MIN_AHEAD = 4;
const MAX_AHEAD = 64;

/** A caller that the sentinel stated. */
interface Statement {
  /** Number of the message that it is valid for. */
  readonly message: number;
  readonly ack: WhoIsAck;
}

/** The part of an incoming call that identifies it. */
interface AnsweredCall {
  readonly corrId: string;
  readonly replyTo: string;
  readonly neighbor: Neighbor;
  /** The caller, if the sentinel stated it with the request. */
  readonly stated: WhoIsAck | undefined;
  readonly meta: Readonly<Record<string, unknown>> | undefined;
  readonly isOver: boolean;
}

export interface CallersDeps {
  control: Control;
  uplink: Neighbor;
  nextAttach: () => Promise<void>;
}

export class Callers {
  #own: Principal | undefined;
  readonly #deps: CallersDeps;
  /** Count of received messages. */
  #messages = 0;
  #statement: Statement | undefined;
  /** Calls for which the sentinel was asked to state the callers, at the last question. */
  #ahead = 0;
  /** Statements since then, and those that a service has read. */
  #stated = 0;
  #read = 0;

  constructor(deps: CallersDeps) {
    this.#deps = deps;
  }

  /** Principal of this node, as its sentinel stated it. Undefined at a sentinel that does not answer WhoIs. */
  get own(): Principal | undefined {
    return this.#own;
  }

  /** Takes the principal of a new connection. A statement on an earlier one is about a request that was lost. */
  attached(own: Principal | undefined): void {
    this.#own = own;
    this.#statement = undefined;
  }

  /** Counts a message of any neighbor, before it is handled. */
  messageReceived(): void {
    this.#messages++;
  }

  /** Keeps the statement of the sentinel about the request in the next message. */
  keep(ack: WhoIsAck): void {
    this.#stated++;
    this.#statement = { message: this.#messages + 1, ack };
  }

  /** Returns the statement about the request in the message at hand, if there is one. */
  statedFor({ neighbor, replyTo, corrId }: Omit<AnsweredCall, 'stated'>): WhoIsAck | undefined {
    const statement = this.#statement;
    if (statement === undefined) return undefined;
    this.#statement = undefined;
    const { message, ack } = statement;
    const isAboutIt = ack.address === replyTo && ack.ofCall === corrId;
    return message === this.#messages && neighbor === this.#deps.uplink && isAboutIt ? ack : undefined;
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
    // The statement is about the node that sent the request, not about a node that it works for.
    const isStated = call.stated !== undefined && call.meta?.[BEHALF_META] === undefined;
    if (isStated) this.#read++;
    const ack = isStated ? call.stated : await this.#ask(call);
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
      let question: Partial<WhoIs> = { serves };
      if (serves === undefined)
        question = typeof onBehalf === 'string' ? { onBehalf } : { ahead: this.#nextAhead() };
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

  // Asks for more statements while the services read most of them. A signed request is verified later, so no order connects the two.
  #nextAhead(): number | undefined {
    if (this.#deps.uplink.isSigned) return undefined;
    const areRead = 2 * this.#read >= this.#stated;
    this.#stated = this.#read = 0;
    this.#ahead = areRead ? Math.min(MAX_AHEAD, Math.max(MIN_AHEAD, 2 * this.#ahead)) : 0;
    return this.#ahead === 0 ? undefined : this.#ahead;
  }
}
