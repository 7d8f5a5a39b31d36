// Parts that only a router needs: reading the header of an envelope without decoding its payload.
export { Credit, Header, readCredit, readHeader } from './protocol/router/header.ts';
