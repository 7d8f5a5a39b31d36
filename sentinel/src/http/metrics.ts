// The counters and gauges of `/metrics`, in the Prometheus text format.
import type { Counters } from '../counters.ts';
import type { MemoryCeiling } from '../memory-ceiling.ts';
import type { QueueBudget } from '../session/queue-budget.ts';

export interface Gauges {
  readonly sessions: number;
  readonly openCalls: number;
  readonly queuedMessages: number;
  readonly withheldGrants: number;
  readonly budget: QueueBudget;
  readonly memory: MemoryCeiling;
  readonly uptimeMs: number;
}

export function renderMetrics(counters: Counters, gauges: Gauges): string {
  const { heapUsed, rss } = process.memoryUsage();
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
  put(
    'fame_closed_overrun_total',
    'counter',
    'Nodes closed because they ignored their credit.',
    counters.closedOverrun,
  );
  put(
    'fame_closed_shed_total',
    'counter',
    'Nodes closed because the sentinel was short of memory.',
    counters.closedShed,
  );
  put(
    'fame_paused_total',
    'counter',
    'Pauses of nodes that sent more than they were granted.',
    counters.paused,
  );
  put('fame_sessions', 'gauge', 'Nodes attached now.', gauges.sessions);
  put('fame_open_calls', 'gauge', 'Calls without a complete reply.', gauges.openCalls);
  put('fame_queued_messages', 'gauge', 'Messages in outbound queues.', gauges.queuedMessages);
  const { budget, memory } = gauges;
  put('fame_queued_bytes', 'gauge', 'Bytes in outbound queues.', budget.queuedBytes);
  put('fame_socket_bytes', 'gauge', 'Bytes that sockets hold for slow readers.', budget.socketBytes);
  put(
    'fame_withheld_grants',
    'gauge',
    'Flows whose sender waits for credit, because the queue of their receiver is long.',
    gauges.withheldGrants,
  );
  put('fame_queue_limit_bytes', 'gauge', 'Largest queue of one node (FAME_QUEUE_BYTES).', budget.queueBytes);
  put(
    'fame_queue_total_limit_bytes',
    'gauge',
    'Limit of all queues and sockets together (FAME_QUEUE_TOTAL_BYTES).',
    budget.queueTotalBytes,
  );
  put(
    'fame_memory_ceiling_bytes',
    'gauge',
    'Resident memory above which attaches are refused.',
    memory.ceilingBytes,
  );
  put('fame_uptime_seconds', 'gauge', 'Seconds since the start.', Math.round(gauges.uptimeMs / 1000));
  put('process_resident_memory_bytes', 'gauge', 'Resident memory.', rss);
  put('nodejs_heap_used_bytes', 'gauge', 'Heap in use.', heapUsed);
  return `${lines.join('\n')}\n`;
}
