// Open calls: every forwarded request with its caller and callee, until the reply or the end of the stream. The router uses
// them to notify callers whose callee left, to forward cancels, and to notify callees whose caller left.
import type { Session } from './session/session.ts';

export interface OpenCall {
  readonly caller: Session;
  readonly callee: Session;
  readonly corrId: string;
  /** Id of the request envelope. */
  readonly id: string;
  readonly replyTo: string;
  readonly isStream: boolean;
  /** First bytes of the frame of an item in the usual formatting, for streams. */
  readonly itemHead: Buffer;
  /** The tables that hold the call, so that closing it needs no lookup. */
  readonly ofCaller: NodeCalls;
  readonly ofCallee: NodeCalls;
}

/** The calls of one node. */
class NodeCalls {
  /** Calls that it made, by corrId, oldest first. */
  made: Map<string, OpenCall> | undefined;
  /** Count of calls that it serves. */
  serving = 0;
}

const NO_HEAD = Buffer.alloc(0);

export class OpenCalls {
  readonly #maxPerCaller: number;
  readonly #byNode = new Map<Session, NodeCalls>();
  #count = 0;
  #onNone: (() => void) | undefined;

  constructor(maxPerCaller: number) {
    this.#maxPerCaller = maxPerCaller;
  }

  /** Open calls of all callers. */
  get count(): number {
    return this.#count;
  }

  /** Open calls that this node made. */
  madeBy(caller: Session): OpenCall[] {
    return [...(this.#byNode.get(caller)?.made?.values() ?? [])];
  }

  servingCount(callee: Session): number {
    return this.#byNode.get(callee)?.serving ?? 0;
  }

  find(caller: Session, corrId: string): OpenCall | undefined {
    return this.#byNode.get(caller)?.made?.get(corrId);
  }

  isOpen(call: OpenCall): boolean {
    return call.ofCaller.made?.get(call.corrId) === call;
  }

  /** Registers a call whose request is forwarded; `id` is that of the request envelope. */
  open(
    caller: Session,
    callee: Session,
    corrId: string,
    id: string,
    replyTo: string,
    isStream: boolean,
  ): void {
    const ofCaller = this.#callsOf(caller);
    const ofCallee = this.#callsOf(callee);
    ofCaller.made ??= new Map();
    const { made } = ofCaller;
    const earlier = made.get(corrId);
    if (earlier !== undefined) this.close(earlier);
    else if (made.size >= this.#maxPerCaller) {
      // A callee that never answers must not block its caller: stop tracking the oldest call.
      const oldest = made.values().next().value;
      if (oldest) this.close(oldest);
    }
    const itemHead = isStream ? itemHeadOf(corrId) : NO_HEAD;
    made.set(corrId, { caller, callee, corrId, id, replyTo, isStream, itemHead, ofCaller, ofCallee });
    ofCallee.serving++;
    this.#count++;
  }

  close(call: OpenCall): void {
    if (!this.isOpen(call)) return;
    call.ofCaller.made!.delete(call.corrId);
    call.ofCallee.serving--;
    if (--this.#count === 0) this.#onNone?.();
  }

  /** Resolves as soon as no call is open. For one waiter, the drain. */
  async whenNone(): Promise<void> {
    if (this.#count === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onNone = resolve;
    await promise;
    this.#onNone = undefined;
  }

  servedBy(callee: Session): OpenCall[] {
    const served: OpenCall[] = [];
    const serving = this.servingCount(callee);
    if (serving === 0) return served;
    for (const { made } of this.#byNode.values()) {
      for (const call of made?.values() ?? []) if (call.callee === callee) served.push(call);
      if (served.length >= serving) break;
    }
    return served;
  }

  /** Closes and returns the calls that `caller` made. */
  takeMadeBy(caller: Session): OpenCall[] {
    const taken = this.madeBy(caller);
    for (const call of taken) this.close(call);
    return taken;
  }

  /** Forgets a node that is gone, once its calls are closed. */
  forget(node: Session): void {
    this.#byNode.delete(node);
  }

  #callsOf(node: Session): NodeCalls {
    let calls = this.#byNode.get(node);
    if (calls === undefined) {
      calls = new NodeCalls();
      this.#byNode.set(node, calls);
    }
    return calls;
  }
}

const RESULT_NULL = Buffer.from('"result":null');
const ERROR = Buffer.from('"error"');
const RESULT = Buffer.from('"result":');
const N_OF_NULL = 110;

/**
 * True if this message ends a stream: it has an error, a null result or no result. A usual item is recognized by its
 * first bytes; others are searched, and parsed only when the search is inconclusive.
 */
export function endsStream(bytes: Buffer, frameAt: number, call: OpenCall): boolean {
  const head = call.itemHead;
  const valueAt = frameAt + head.length;
  if (bytes[valueAt] !== N_OF_NULL && startsAt(bytes, frameAt, head)) return false;
  const mayEnd =
    bytes.indexOf(RESULT_NULL, frameAt) !== -1 ||
    bytes.indexOf(ERROR, frameAt) !== -1 ||
    bytes.indexOf(RESULT, frameAt) === -1;
  if (!mayEnd) return false;
  try {
    const { payload } = JSON.parse(bytes.toString('utf8')).frame;
    if (payload?.jsonrpc !== '2.0') return false;
    return payload.error != null || payload.result == null;
  } catch {
    // The frame is not JSON: the caller's codec rejects it, and no further item can repair the stream.
    return true;
  }
}

/** First bytes of the frame of an item of this call, in the usual formatting. */
export const itemHeadOf = (corrId: string): Buffer =>
  Buffer.from(`{"type":"Data","payload":{"jsonrpc":"2.0","id":${JSON.stringify(corrId)},"result":`);

function startsAt(bytes: Buffer, at: number, head: Buffer): boolean {
  for (let i = 0; i < head.length; i++) if (bytes[at + i] !== head[i]) return false;
  return head.length > 0;
}
