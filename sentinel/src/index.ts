// What the sentinel offers to programs that embed it.
export { readSentinelConfig, type SentinelConfig, VARIABLES, type Variable } from './config.ts';
export { runSentinelProcess } from './main.ts';
export { type RunningSentinel, type SentinelOptions, SOFTWARE, startSentinel } from './sentinel.ts';
