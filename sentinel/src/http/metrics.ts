// The metrics of a sentinel for `/metrics`. Their values are plain numbers, which are read at each scrape.
import type { Clock } from '@fame-fabric/shared';
import { addProcessMetrics, counterOf, gaugeOf, histogramOf, Registry } from '@fame-fabric/shared/metrics';
import type { Counters } from '../counters.ts';
import type { Identity } from '../identity.ts';
import type { MemoryCeiling } from '../memory-ceiling.ts';
import type { History } from '../observe/history.ts';
import type { HopLatency } from '../observe/hop-latency.ts';
import type { OpenCalls } from '../open-calls.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';

export interface MetricsDeps {
  identity: Identity;
  table: SessionTable;
  calls: OpenCalls;
  counters: Counters;
  hops: HopLatency;
  history: History;
  budget: QueueBudget;
  memory: MemoryCeiling;
  clock: Clock;
  /** Monotonic time of the start, in ms. */
  startedAt: number;
}

export class SentinelMetrics {
  readonly #registry = new Registry();

  constructor(deps: MetricsDeps) {
    const { identity } = deps;
    addTraffic(this.#registry, deps);
    addConnections(this.#registry, deps);
    addQueues(this.#registry, deps);
    addLimits(this.#registry, deps);
    addProcessMetrics(this.#registry, identity.software.replace(/^fame-fabric\//, ''));
  }

  async render(): Promise<{ text: string; contentType: string }> {
    return { text: await this.#registry.metrics(), contentType: this.#registry.contentType };
  }
}

function addTraffic(to: Registry, { counters, hops }: MetricsDeps): void {
  counterOf(
    to,
    'fame_messages_total',
    'Messages received from nodes (in) and forwarded to nodes (out).',
    () => ({ in: counters.received, out: counters.forwarded }),
    'direction',
  );
  counterOf(
    to,
    'fame_message_bytes_total',
    'Bytes of received (in) and forwarded (out) messages.',
    () => ({ in: counters.receivedBytes, out: counters.forwardedBytes }),
    'direction',
  );
  counterOf(to, 'fame_forwarded_total', 'Envelopes forwarded.', () => counters.forwarded);
  counterOf(to, 'fame_forwarded_bytes_total', 'Bytes of forwarded envelopes.', () => counters.forwardedBytes);
  histogramOf(
    to,
    'fame_hop_duration_seconds',
    'Time from reading a message to writing it, with its time in the queue, of 1 of 61 messages.',
    hops.buckets,
    () => hops.buckets,
  );
  counterOf(to, 'fame_decoded_total', 'Envelopes that had to be decoded.', () => counters.decoded);
  counterOf(to, 'fame_bad_frames_total', 'Messages that were not valid envelopes.', () => counters.badFrames);
  counterOf(
    to,
    'fame_ungranted_total',
    'Messages to mailboxes dropped because no open call allowed them.',
    () => counters.ungranted,
  );
  counterOf(to, 'fame_refused_total', 'Envelopes refused, by code.', () => counters.refused, 'code');
}

function addConnections(to: Registry, { calls, counters, table }: MetricsDeps): void {
  counterOf(to, 'fame_attached_total', 'Attaches that were accepted.', () => counters.attached);
  counterOf(to, 'fame_resumed_total', 'Attaches that continued a session.', () => counters.resumed);
  counterOf(to, 'fame_detached_total', 'Connections of attached nodes that ended.', () => counters.detached);
  counterOf(
    to,
    'fame_detached_by_reason_total',
    'Connections of attached nodes that ended, by reason.',
    () => counters.detachedBy,
    'reason',
  );
  counterOf(
    to,
    'fame_closed_slow_total',
    'Nodes closed because they did not read.',
    () => counters.closedSlow,
  );
  counterOf(
    to,
    'fame_closed_overrun_total',
    'Nodes closed because they ignored their credit.',
    () => counters.closedOverrun,
  );
  counterOf(
    to,
    'fame_closed_shed_total',
    'Nodes closed because the sentinel was short of memory.',
    () => counters.closedShed,
  );
  counterOf(
    to,
    'fame_paused_total',
    'Pauses of nodes that sent more than they were granted.',
    () => counters.paused,
  );
  counterOf(
    to,
    'fame_quota_exceeded_total',
    'Requests, attaches and connections above a quota, by kind.',
    () => counters.quotaExceeded,
    'kind',
  );
  counterOf(
    to,
    'fame_quota_slowed_total',
    'Grants of credit that waited for a rate.',
    () => counters.quotaSlowed,
  );
  counterOf(
    to,
    'fame_quota_paused_total',
    'Pauses of nodes that kept sending above a rate.',
    () => counters.quotaPaused,
  );
  counterOf(
    to,
    'fame_closed_quota_total',
    'Nodes closed because they kept sending above a rate.',
    () => counters.closedQuota,
  );
  gaugeOf(to, 'fame_sessions', 'Nodes attached now.', () =>
    sumOf(table, ({ state }) => Number(state === 'attached')),
  );
  gaugeOf(to, 'fame_open_calls', 'Calls without a complete reply.', () => calls.count);
}

function addQueues(to: Registry, { budget, table }: MetricsDeps): void {
  gaugeOf(to, 'fame_queued_messages', 'Messages in outbound queues.', () =>
    sumOf(table, ({ outbound }) => outbound.messages),
  );
  gaugeOf(to, 'fame_queued_bytes', 'Bytes in outbound queues.', () => budget.queuedBytes);
  gaugeOf(to, 'fame_socket_bytes', 'Bytes that sockets hold for slow readers.', () => budget.socketBytes);
  gaugeOf(
    to,
    'fame_withheld_grants',
    'Flows whose sender waits for credit, because the queue of their receiver is long.',
    () => sumOf(table, ({ outbound }) => outbound.withheldGrants),
  );
}

function addLimits(to: Registry, { budget, clock, history, memory, startedAt }: MetricsDeps): void {
  gaugeOf(
    to,
    'fame_queue_limit_bytes',
    'Largest queue of one node (FAME_QUEUE_BYTES).',
    () => budget.queueBytes,
  );
  gaugeOf(
    to,
    'fame_queue_total_limit_bytes',
    'Limit of all queues and sockets together (FAME_QUEUE_TOTAL_BYTES).',
    () => budget.queueTotalBytes,
  );
  gaugeOf(
    to,
    'fame_memory_ceiling_bytes',
    'Resident memory above which attaches are refused.',
    () => memory.ceilingBytes,
  );
  gaugeOf(to, 'fame_uptime_seconds', 'Seconds since the start.', () =>
    Math.round((clock.monotonic() - startedAt) / 1000),
  );
  for (const share of ['p50', 'p99'] as const) {
    gaugeOf(
      to,
      `nodejs_eventloop_lag_${share}_seconds`,
      'Delay of the event loop in the last 5 seconds.',
      () => (history.last?.loopDelayMs[share] ?? 0) / 1_000,
    );
  }
}

function sumOf(table: SessionTable, valueFor: (session: Session) => number): number {
  let sum = 0;
  for (const session of table.all()) sum += valueFor(session);
  return sum;
}
