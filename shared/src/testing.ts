// The test kit: transports without a network, a clock whose hands the test turns, a log that can be read.
export { memoryDial, memoryPair } from './link/memory-transport.ts';
export { CaptureLog, type LogLine } from './testing/capture-log.ts';
export { ManualClock, settle } from './testing/manual-clock.ts';
export { type ScriptedNode, ScriptedSentinel } from './testing/scripted-sentinel.ts';
