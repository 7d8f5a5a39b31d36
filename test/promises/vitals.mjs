// Loaded into a process under observation (`node --import`): every VITALS_MS it prints, as one line of JSON on standard error,
// the processor time it used, how long its event loop was held up, and, every sixth time, what its heap holds after a
// collection. What the collection itself costs is left out of the other two.
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
  // Enabled again once the loop has come to rest, so that the collection is no delay.
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
