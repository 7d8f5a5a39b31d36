// Open calls: for every request that passed, who asked whom, until the answer or the stream's end. This is what lets the
// router tell callers at once that their callee left, hand a cancel on, and tell a callee that its caller is gone.
import type { Session } from './session/session.ts';

export interface OpenCall {
  readonly caller: Session;
  readonly callee: Session;
  readonly corrId: string;
  /** Id of the request envelope. */
  readonly id: string;
  readonly replyTo: string;
  readonly isStream: boolean;
  /** First bytes of the frame of a usual item, for streams. */
  readonly itemHead: Buffer;
}

export class OpenCalls {
  readonly #maxPerCaller: number;
  /** All open calls, of all callers. */
  count = 0;

  constructor(maxPerCaller: number) {
    this.#maxPerCaller = maxPerCaller;
  }

  open(call: OpenCall): void {
    const { caller, corrId } = call;
    caller.calls ??= new Map();
    const calls = caller.calls;
    const earlier = calls.get(corrId);
    if (earlier !== undefined) this.close(earlier);
    else if (calls.size >= this.#maxPerCaller) {
      // A callee that never answers must not lock its caller out: the oldest call is no longer watched.
      const oldest = calls.values().next().value;
      if (oldest) this.close(oldest);
    }
    calls.set(corrId, call);
    call.callee.serving++;
    this.count++;
  }

  close(call: OpenCall): void {
    if (!this.isOpen(call)) return;
    call.caller.calls!.delete(call.corrId);
    call.callee.serving--;
    this.count--;
  }

  /** The calls that `callee` is serving; `sessions` are all that may have called. */
  servedBy(callee: Session, sessions: Iterable<Session>): OpenCall[] {
    if (callee.serving === 0) return [];
    const served: OpenCall[] = [];
    for (const session of sessions) {
      for (const call of session.calls?.values() ?? []) if (call.callee === callee) served.push(call);
      if (served.length >= callee.serving) break;
    }
    return served;
  }

  isOpen(call: OpenCall): boolean {
    return call.caller.calls?.get(call.corrId) === call;
  }

  /** Takes away and returns the calls that `caller` made. */
  takeMadeBy(caller: Session): OpenCall[] {
    const taken = [...(caller.calls?.values() ?? [])];
    for (const call of taken) this.close(call);
    return taken;
  }
}

const RESULT_NULL = Buffer.from('"result":null');
const ERROR = Buffer.from('"error"');
const RESULT = Buffer.from('"result":');
const N_OF_NULL = 110;

/**
 * Whether this message ends a stream: an error, a null result, or no result at all. An item of the usual shape is known by
 * its first bytes; the rest is searched, and parsed only when that leaves room for doubt.
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
    // Not JSON behind the header: the caller's codec refuses it, and no further item can repair that stream.
    return true;
  }
}

const NO_HEAD = Buffer.alloc(0);

/** How the frame of an item of this call begins in the usual spelling. */
export const itemHeadOf = (corrId: string, isStream: boolean): Buffer =>
  isStream
    ? Buffer.from(`{"type":"Data","payload":{"jsonrpc":"2.0","id":${JSON.stringify(corrId)},"result":`)
    : NO_HEAD;

function startsAt(bytes: Buffer, at: number, head: Buffer): boolean {
  for (let i = 0; i < head.length; i++) if (bytes[at + i] !== head[i]) return false;
  return head.length > 0;
}
