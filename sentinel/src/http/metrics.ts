// The counters and gauges of `/metrics`, in the Prometheus text format.
import type { Counters } from '../counters.ts';

export interface Gauges {
  readonly sessions: number;
  readonly openCalls: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly uptimeMs: number;
}

export function renderMetrics(counters: Counters, gauges: Gauges): string {
  const memory = process.memoryUsage();
  const lines: string[] = [];
  const put = (name: string, type: 'counter' | 'gauge', help: string, value: number, labels = ''): void => {
    if (labels === '' || !lines.includes(`# TYPE ${name} ${type}`)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    }
    lines.push(`${name}${labels} ${value}`);
  };
  put('fame_forwarded_total', 'counter', 'Envelopes forwarded.', counters.forwarded);
  put('fame_forwarded_bytes_total', 'counter', 'Bytes of forwarded envelopes.', counters.forwardedBytes);
  put('fame_decoded_total', 'counter', 'Envelopes that had to be decoded.', counters.decoded);
  put('fame_bad_frames_total', 'counter', 'Messages that were not valid envelopes.', counters.badFrames);
  put(
    'fame_ungranted_total',
    'counter',
    'Messages to mailboxes dropped because no open call allowed them.',
    counters.ungranted,
  );
  for (const [code, count] of Object.entries(counters.refused)) {
    put('fame_refused_total', 'counter', 'Envelopes refused, by code.', count, `{code="${code}"}`);
  }
  put('fame_attached_total', 'counter', 'Attaches that were accepted.', counters.attached);
  put('fame_detached_total', 'counter', 'Connections of attached nodes that ended.', counters.detached);
  put('fame_closed_slow_total', 'counter', 'Nodes closed because they did not read.', counters.closedSlow);
  put('fame_sessions', 'gauge', 'Nodes attached now.', gauges.sessions);
  put('fame_open_calls', 'gauge', 'Calls without a complete reply.', gauges.openCalls);
  put('fame_queued_messages', 'gauge', 'Messages in outbound queues.', gauges.queuedMessages);
  put('fame_queued_bytes', 'gauge', 'Bytes in outbound queues.', gauges.queuedBytes);
  put('fame_uptime_seconds', 'gauge', 'Seconds since the start.', Math.round(gauges.uptimeMs / 1000));
  put('process_resident_memory_bytes', 'gauge', 'Resident memory.', memory.rss);
  put('nodejs_heap_used_bytes', 'gauge', 'Heap in use.', memory.heapUsed);
  return `${lines.join('\n')}\n`;
}
