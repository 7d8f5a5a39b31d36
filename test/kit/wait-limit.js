/**
 * Limit for waiting on another process or the far end of a socket, in ms. It ends a wait that would not end; it measures
 * nothing: a busy machine takes seconds for what it usually does in milliseconds. A test that promises a time measures it.
 */
export const WAIT_LIMIT_MS = 20_000;
//# sourceMappingURL=wait-limit.js.map
