// Measures the process that loads it (`node --import`). Every VITALS_MS it prints one line of JSON on standard error: the
// processor time, the delay of the event loop, and every sixth time the heap after a garbage collection. The cost of the
// collection itself is not counted.
import { monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 10;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();
let collecting = 0;
let lines = 0;

const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

function heldBytes() {
  delay.disable();
  const before = cpuMs();
  globalThis.gc?.();
  collecting += cpuMs() - before;
  const { heapUsed, external } = process.memoryUsage();
  // Enabled again once the loop is idle, so that the collection does not count as a delay.
  setTimeout(() => delay.enable(), 100).unref();
  return heapUsed + external;
}

setInterval(
  () => {
    const loopP99Ms = Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MS);
    delay.reset();
    const held = lines++ % 6 === 0 ? { heldBytes: heldBytes() } : {};
    process.stderr.write(`vitals ${JSON.stringify({ loopP99Ms, cpuMs: cpuMs() - collecting, ...held })}\n`);
  },
  Number(process.env.VITALS_MS ?? 5_000),
).unref();
