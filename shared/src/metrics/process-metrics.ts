// Metrics that every process has: memory, CPU, descriptors, build. Their names are those of `prom-client`.
import { readdir } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { openFileLimit } from './open-files.ts';
import { counterOf, Gauge, gaugeOf, type Registry } from './registry.ts';

/** Adds the metrics of this process to a registry. They are read at each scrape. `version` is that of this software. */
export function addProcessMetrics(registry: Registry, version: string): void {
  const maxOpenFiles = openFileLimit();
  gaugeOf(registry, 'process_resident_memory_bytes', 'Resident memory.', () => process.memoryUsage.rss());
  gaugeOf(registry, 'nodejs_heap_used_bytes', 'Heap in use.', () => process.memoryUsage().heapUsed);
  counterOf(registry, 'process_cpu_seconds_total', 'User and system CPU time.', () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  gaugeOf(registry, 'process_start_time_seconds', 'Start of the process, in Unix time.', () =>
    Math.round(performance.timeOrigin / 1_000),
  );
  if (Number.isFinite(maxOpenFiles)) {
    gaugeOf(registry, 'process_max_fds', 'Limit of open file descriptors.', () => maxOpenFiles);
    new Gauge({
      name: 'process_open_fds',
      help: 'Open file descriptors.',
      registers: [registry],
      async collect() {
        this.set((await readdir('/proc/self/fd')).length);
      },
    });
  }
  new Gauge({
    name: 'fame_build_info',
    help: 'Version of the software and of Node. The value is always 1.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version, node: process.versions.node }, 1);
}
