// The context of an operation that runs on behalf of another call: of one that a replica has passed, or of another attempt of a call.
import type { OperationContext } from '../../agent/operation.ts';

type Given = Pick<
  OperationContext,
  'callId' | 'caller' | 'replyTo' | 'isStream' | 'traceId' | 'ttl' | 'meta' | 'address'
> & { acknowledge?(): void };

/** Returns a context with the given properties. Its signal, log, link and state are those of `base`. */
export function derivedContext(base: OperationContext, given: Partial<Given>): OperationContext {
  return {
    get signal() {
      return base.signal;
    },
    callId: given.callId ?? base.callId,
    traceId: 'traceId' in given ? given.traceId : base.traceId,
    ttl: 'ttl' in given ? given.ttl : base.ttl,
    meta: 'meta' in given ? given.meta : base.meta,
    address: given.address ?? base.address,
    replyTo: given.replyTo ?? base.replyTo,
    get caller() {
      return given.caller ?? base.caller;
    },
    // Operations of conversations never call it.
    callerServes: async () => false,
    isStream: given.isStream ?? base.isStream,
    get state() {
      return base.state;
    },
    delivery: base.delivery,
    acknowledge: () => (given.acknowledge ? given.acknowledge() : base.acknowledge?.()),
    get log() {
      return base.log;
    },
    get link() {
      return base.link;
    },
  };
}
