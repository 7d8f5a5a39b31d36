// The limits of the wire, in one place. Each carries its unit in its name; docs/protocol.md lists them with their reasons.

export const LIMITS = Object.freeze({
  /** Largest envelope that is routed or sent, in bytes of UTF-8 JSON; nodes of every Fame version agree on it. */
  maxEnvelopeBytes: 262_144,
  /** Largest message that is read at all, in bytes; above it the socket is closed with 1009. */
  maxFrameBytes: 1_048_576,
  /** Deepest nesting of objects and arrays. */
  maxDepth: 64,
  /** Longest id, in bytes. */
  maxIdBytes: 256,
  /** Longest address, in bytes. */
  maxAddressBytes: 256,
  /** Most capabilities in one frame or envelope. */
  maxCapabilities: 32,
  /** Messages of one flow that may be on the way without a CreditUpdate. */
  creditWindow: 32,
  /** A receiver returns credit after this many messages of a flow. */
  creditReturnAfter: 24,
});
