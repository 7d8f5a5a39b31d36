// Public exports for programs that run a fabric in their own process, without a port. Loads neither `ws` nor the HTTP routes.
export { type MemorySentinel, type MemorySentinelOptions, startMemorySentinel } from './memory-sentinel.ts';
