// Capabilities and software names that both ends of a connection exchange.

/** Advertised for every bound address. */
export const AGENT_CAPABILITY = 'fame.capability.agent';
/** Declared in NodeAttach: the node understands CallCancel. */
export const CANCEL_CAPABILITY = 'fame.capability.cancel';
/** Declared in NodeAttach: every stream that the node sends has its own flow. */
export const STREAM_FLOWS_CAPABILITY = 'fame.capability.stream-flows';
/**
 * Declared in NodeAttach by a link: it sends the messages to each callee on a flow of their own, and the answers to each caller.
 * So withholding the credit of one flow slows that pair of nodes and no other. Sentinels declare it to their parents and peers, because
 * they keep the flows of their nodes apart.
 */
export const PAIR_FLOWS_CAPABILITY = 'fame.capability.pair-flows';
/** Declared in NodeAttach by a link: beside its credit it bounds the bytes of a flow in flight, if the sentinel grants by bytes. */
export const BYTE_CREDIT_CAPABILITY = 'fame.capability.byte-credit';
/** Declared in NodeAttach by a sentinel that answers WhoIs about the calls of the nodes below it. */
export const WHO_IS_CAPABILITY = 'fame.capability.who-is';

/** Declared in NodeAttach by every node of ours, sentinels that attach to a parent or peer included. */
export const NODE_CAPABILITIES: readonly string[] = Object.freeze([
  CANCEL_CAPABILITY,
  STREAM_FLOWS_CAPABILITY,
]);

/**
 * True if a NodeAttachAck comes from a sentinel of ours. Such a sentinel understands CallCancel, keeps flows apart and
 * takes any burst of messages.
 */
export const isOwnSoftware = (software: string | null | undefined): boolean =>
  software?.startsWith('fame-fabric/') === true;
