// The parts that only a router needs: matching of paths and pools, the header of an envelope without its payload, and the
// parts of `node.ts` that it needs before its port is open. It loads neither pino nor `ws`.
export { makeDirectory } from './data-dir.ts';
export { isUnder, poolMatches } from './protocol/address.ts';
export { Credit, Header, readCredit, readHeader } from './protocol/router/header.ts';
export { sidOf } from './sid.ts';
