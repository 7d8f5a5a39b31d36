// Counters that the path increments and `/metrics` prints. Plain numbers: an increment is all that a message pays.

export class Counters {
  forwarded = 0;
  forwardedBytes = 0;
  /** Messages that went through the codec because their shape was not the plain one. */
  decoded = 0;
  refused: Record<string, number> = Object.create(null);
  badFrames = 0;
  attached = 0;
  detached = 0;
  closedSlow = 0;

  refuse(code: string): void {
    this.refused[code] = (this.refused[code] ?? 0) + 1;
  }
}

export interface Gauges {
  sessions: number;
  openCalls: number;
  queuedMessages: number;
  queuedBytes: number;
  uptimeMs: number;
}

/** The counters and gauges in the Prometheus text format. */
export function renderMetrics(counters: Counters, gauges: Gauges): string {
  const memory = process.memoryUsage();
  const lines: string[] = [];
  const put = (name: string, type: 'counter' | 'gauge', help: string, value: number, labels = ''): void => {
    if (labels === '' || !lines.includes(`# TYPE ${name} ${type}`)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    }
    lines.push(`${name}${labels} ${value}`);
  };
  put('fame_forwarded_total', 'counter', 'Envelopes handed on.', counters.forwarded);
  put('fame_forwarded_bytes_total', 'counter', 'Bytes of the envelopes handed on.', counters.forwardedBytes);
  put('fame_decoded_total', 'counter', 'Envelopes that were read whole.', counters.decoded);
  put('fame_bad_frames_total', 'counter', 'Messages that were no envelope.', counters.badFrames);
  for (const [code, count] of Object.entries(counters.refused)) {
    put('fame_refused_total', 'counter', 'Envelopes refused, by code.', count, `{code="${code}"}`);
  }
  put('fame_attached_total', 'counter', 'Attaches that were accepted.', counters.attached);
  put('fame_detached_total', 'counter', 'Connections of attached nodes that ended.', counters.detached);
  put('fame_closed_slow_total', 'counter', 'Nodes closed because they did not read.', counters.closedSlow);
  put('fame_sessions', 'gauge', 'Nodes attached now.', gauges.sessions);
  put('fame_open_calls', 'gauge', 'Calls without an answer.', gauges.openCalls);
  put('fame_queued_messages', 'gauge', 'Messages that wait for their node.', gauges.queuedMessages);
  put('fame_queued_bytes', 'gauge', 'Bytes that wait for their node.', gauges.queuedBytes);
  put('fame_uptime_seconds', 'gauge', 'Seconds since the start.', Math.round(gauges.uptimeMs / 1000));
  put('process_resident_memory_bytes', 'gauge', 'Resident memory.', memory.rss);
  put('nodejs_heap_used_bytes', 'gauge', 'Heap in use.', memory.heapUsed);
  return `${lines.join('\n')}\n`;
}
