// The parts that only a router needs: matching of paths and pools, and the header of an envelope without its payload.
export { isUnder, poolMatches } from './protocol/address.ts';
export { Credit, Header, readCredit, readHeader } from './protocol/router/header.ts';
