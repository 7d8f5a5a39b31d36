// A call that one replica passes to another: the call of a caller, with the identity that the sentinel stated for it. A code over the
// whole call proves that the sender has the secret of the store. So no other node can call in the name of a caller, also at a sentinel
// where all nodes are anonymous.
//
// Invariants: R1 nothing of a passed call is read before its code was verified. R2 a code is valid at one replica only, because the
// call names it, so a replica's record of the calls that it received is useless at the others.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import type { IdentifiedCaller } from '../../agent/identified-caller.ts';

/** Operation that runs a passed call. Only the address of a replica has it. */
export const PASS = 'pass';

export interface PassedCall {
  /** Id of the writer of the receiving replica. */
  readonly to: string;
  /** Id of the conversation in the store; absent for a call that starts one. */
  readonly conversation?: string | undefined;
  readonly method: string;
  readonly params: unknown;
  readonly caller: IdentifiedCaller & { readonly limits?: SpendingLimits | undefined };
  readonly callId: string;
  readonly replyTo: string;
  readonly isStream: boolean;
  readonly traceId?: string | undefined;
  readonly ttl?: number | undefined;
  readonly meta?: Readonly<Record<string, unknown>> | undefined;
}

/** Parameters of `PASS`. */
export interface PassParams {
  readonly call: unknown;
  /** Code over the JSON of `call`, as base64url. */
  readonly code: string;
}

/** An item of the answer to a passed call. */
export type PassItem =
  /** The turn is in the journal. */
  | { readonly kind: 'accepted' }
  | { readonly kind: 'event'; readonly event: unknown }
  | { readonly kind: 'result'; readonly result: unknown }
  /** The error of the call itself, in the form of a JSON-RPC error. */
  | { readonly kind: 'error'; readonly error: { code: number; message: string; data?: unknown } }
  /** This replica does not hold the conversation. `holder` does, if the store named one. */
  | { readonly kind: 'moved'; readonly holder?: string | undefined };

/** Signs a call with the secret of the store. */
export function signedCall(call: PassedCall, key: string): PassParams {
  // The receiver computes the code from the parsed call: without absent fields, and with its own order of the properties.
  const plain: unknown = JSON.parse(JSON.stringify(call));
  return { call: plain, code: codeOf(plain, key).toString('base64url') };
}

/** Returns the call of a replica to the writer `own`. @throws {AUTH_FORBIDDEN} for a call of any other node */
export function verifiedCall({ call, code }: PassParams, key: string, own: string): PassedCall {
  const expected = codeOf(call, key);
  const given = Buffer.from(code, 'base64url');
  const isOfReplica = given.length === expected.length && timingSafeEqual(given, expected);
  if (!isOfReplica || (call as PassedCall).to !== own) {
    throw new FabricError('AUTH_FORBIDDEN', 'Only the other replicas of this agent may pass calls to it.');
  }
  return call as PassedCall;
}

const codeOf = (call: unknown, key: string): Buffer =>
  createHmac('sha256', Buffer.from(key, 'base64url'))
    .update(`pass\n${JSON.stringify(call)}`)
    .digest();
