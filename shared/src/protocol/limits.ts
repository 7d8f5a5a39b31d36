// Limits of the protocol. docs/protocol.md lists them with their reasons.

export const LIMITS = Object.freeze({
  /** Largest envelope, in bytes of UTF-8 JSON. The same for nodes of every Fame version. */
  maxEnvelopeBytes: 262_144,
  /** Largest WebSocket message, in bytes. A larger one closes the socket with 1009. */
  maxFrameBytes: 1_048_576,
  /** Deepest nesting of objects and arrays. */
  maxDepth: 64,
  /** Longest id, in bytes. */
  maxIdBytes: 256,
  /** Longest token, in characters. */
  maxTokenChars: 8_192,
  /** Longest address, in bytes. */
  maxAddressBytes: 256,
  /** Maximum number of capabilities in one frame or envelope. */
  maxCapabilities: 32,
  /** Messages of one flow that may be in flight without new credit. */
  creditWindow: 32,
  /** Messages of one flow after which a receiver grants new credit. */
  creditReturnAfter: 24,
  /** Bytes of one flow after which a sentinel grants new credit to a node with pair flows. */
  creditReturnBytes: 262_144,
  /** Time without an item after which a sentinel ends a call that carries no deadline, in ms. */
  idleCallMs: 900_000,
});
