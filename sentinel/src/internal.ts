// What the command, the tests and the docs of this repository need of the sentinel, and users are not promised. It loads
// neither `ws` nor the wiring.
export { CLOSE } from './close-codes.ts';
export { readSentinelConfig, type SentinelConfig, VARIABLES } from './config.ts';
