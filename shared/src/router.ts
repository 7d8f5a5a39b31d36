// The parts that only a router needs: matching of paths and pools, and reading the header of an envelope without its payload.
// Repeats `makeDirectory` and `sidOf` of `node.ts`, because a router starts faster without loading pino and `ws`.
export { ensureLocalKey, isLocalKey, readTokenFile } from './access/local-key-file.ts';
export { makeDirectory } from './data-dir.ts';
export { isUnder, locationOf, poolMatches } from './protocol/address.ts';
export { timeoutOf } from './protocol/deadline.ts';
export { Credit, Header, readCredit, readHeader } from './protocol/router/header.ts';
export { readSession, sessionFile, writeSession } from './session-file.ts';
export { sidOf } from './sid.ts';
