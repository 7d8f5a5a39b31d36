// Exports for the command, the tests and the docs of this repository, without a promise to users. Loads neither `ws` nor the
// wiring.
export { CLOSE } from './close-codes.ts';
export { readSentinelConfig, type SentinelConfig, VARIABLES } from './config.ts';
