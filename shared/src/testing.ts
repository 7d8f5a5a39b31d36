// The test kit: in-memory transports, a manual clock, a log that records its lines, and a scripted sentinel.
export { memoryDial, memoryPair } from './link/memory-transport.ts';
export { CaptureLog, type LogLine } from './testing/capture-log.ts';
export { ManualClock, settle } from './testing/manual-clock.ts';
export { type ScriptedNode, ScriptedSentinel } from './testing/scripted-sentinel.ts';
