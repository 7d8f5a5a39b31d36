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

/** Name, help text, and the value, or one value for each value of a label. The name of a counter ends in `_total`, as is usual. */
type Metric = readonly [
  name: string,
  help: string,
  value: number | Readonly<Record<string, number>>,
  label?: string,
];

export function renderMetrics(counters: Counters, gauges: Gauges): string {
  const { budget, memory } = gauges;
  const { heapUsed, rss } = process.memoryUsage();
  const metrics: Metric[] = [
    ['fame_forwarded_total', 'Envelopes forwarded.', counters.forwarded],
    ['fame_forwarded_bytes_total', 'Bytes of forwarded envelopes.', counters.forwardedBytes],
    ['fame_decoded_total', 'Envelopes that had to be decoded.', counters.decoded],
    ['fame_bad_frames_total', 'Messages that were not valid envelopes.', counters.badFrames],
    [
      'fame_ungranted_total',
      'Messages to mailboxes dropped because no open call allowed them.',
      counters.ungranted,
    ],
    ['fame_refused_total', 'Envelopes refused, by code.', counters.refused, 'code'],
    ['fame_attached_total', 'Attaches that were accepted.', counters.attached],
    ['fame_detached_total', 'Connections of attached nodes that ended.', counters.detached],
    ['fame_closed_slow_total', 'Nodes closed because they did not read.', counters.closedSlow],
    ['fame_closed_overrun_total', 'Nodes closed because they ignored their credit.', counters.closedOverrun],
    ['fame_closed_shed_total', 'Nodes closed because the sentinel was short of memory.', counters.closedShed],
    ['fame_paused_total', 'Pauses of nodes that sent more than they were granted.', counters.paused],
    [
      'fame_quota_exceeded_total',
      'Requests, attaches and connections above a quota, by kind.',
      counters.quotaExceeded,
      'kind',
    ],
    ['fame_quota_slowed_total', 'Grants of credit that waited for a rate.', counters.quotaSlowed],
    ['fame_quota_paused_total', 'Pauses of nodes that kept sending above a rate.', counters.quotaPaused],
    ['fame_closed_quota_total', 'Nodes closed because they kept sending above a rate.', counters.closedQuota],
    ['fame_sessions', 'Nodes attached now.', gauges.sessions],
    ['fame_open_calls', 'Calls without a complete reply.', gauges.openCalls],
    ['fame_queued_messages', 'Messages in outbound queues.', gauges.queuedMessages],
    ['fame_queued_bytes', 'Bytes in outbound queues.', budget.queuedBytes],
    ['fame_socket_bytes', 'Bytes that sockets hold for slow readers.', budget.socketBytes],
    [
      'fame_withheld_grants',
      'Flows whose sender waits for credit, because the queue of their receiver is long.',
      gauges.withheldGrants,
    ],
    ['fame_queue_limit_bytes', 'Largest queue of one node (FAME_QUEUE_BYTES).', budget.queueBytes],
    [
      'fame_queue_total_limit_bytes',
      'Limit of all queues and sockets together (FAME_QUEUE_TOTAL_BYTES).',
      budget.queueTotalBytes,
    ],
    ['fame_memory_ceiling_bytes', 'Resident memory above which attaches are refused.', memory.ceilingBytes],
    ['fame_uptime_seconds', 'Seconds since the start.', Math.round(gauges.uptimeMs / 1000)],
    ['process_resident_memory_bytes', 'Resident memory.', rss],
    ['nodejs_heap_used_bytes', 'Heap in use.', heapUsed],
  ];
  return `${metrics.flatMap(linesOf).join('\n')}\n`;
}

function linesOf([name, help, value, label]: Metric): string[] {
  const samples =
    typeof value === 'number'
      ? [`${name} ${value}`]
      : Object.entries(value).map(([key, count]) => `${name}{${label}="${key}"} ${count}`);
  if (samples.length === 0) return [];
  const type = name.endsWith('_total') ? 'counter' : 'gauge';
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples];
}
