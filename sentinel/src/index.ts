// The public list of the sentinel, for programs that embed one. `internal.ts` adds what only this repository needs.
export { readSentinelConfig, type SentinelConfig } from './config.ts';
export { SOFTWARE } from './identity.ts';
export { type ProcessOptions, runSentinelProcess } from './main.ts';
export { type RunningSentinel, type SentinelOptions, startSentinel } from './sentinel.ts';
