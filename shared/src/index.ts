// The public list of shared: all of it loads in a browser. `node.ts` adds what needs Node, `testing.ts` the test kit.
export { type Clock, systemClock, type Timer } from './clock.ts';
export {
  ERRORS,
  type ErrorCode,
  type ErrorEntry,
  FabricError,
  type FabricErrorOptions,
  isErrorCode,
  isFabricError,
} from './errors.ts';
export { newId } from './ids.ts';
export { Link } from './link/link.ts';
export type {
  BindOptions,
  CallOptions,
  CallTarget,
  IncomingCall,
  LinkOptions,
  LinkState,
  Service,
} from './link/link-types.ts';
export { memoryDial, memoryPair } from './link/memory-transport.ts';
export type { Dial, DialOptions, Transport } from './link/transport.ts';
export { webDial } from './link/web-transport.ts';
export { LOG_LEVELS, type LogFields, type Logger, type LogLevel, silentLog } from './log.ts';
export * from './protocol/address.ts';
export { checkEnvelope, decode, depthExceeds, encode } from './protocol/codec.ts';
export * from './protocol/envelope.ts';
export { checkFrame, isFrameType } from './protocol/frames.ts';
export { LIMITS } from './protocol/limits.ts';
export * from './protocol/rpc.ts';
export * from './protocol/tasks.ts';
