// The public exports, for programs that embed a sentinel. `internal.ts` has those that only this repository needs.
export { readSentinelConfig, type SentinelConfig } from './config.ts';
export { SOFTWARE } from './identity.ts';
export { type ProcessOptions, runSentinelProcess } from './main.ts';
export { type RunningSentinel, type SentinelOptions, startSentinel } from './sentinel.ts';
