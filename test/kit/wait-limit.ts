/**
 * Limit for waiting on another process or the other end of a socket, in ms. It only ends a wait that would never end, since a
 * busy machine can take seconds for milliseconds of work. A test of a time limit measures the time itself.
 */
export const WAIT_LIMIT_MS = 20_000;
