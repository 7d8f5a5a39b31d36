// The checks of `GET /fame/v1/doctor`: the state of the sentinel, each fault with its fix. `fame doctor` also checks the machine of the
// caller.
import { timeText } from '@fame-fabric/shared/internal';
import { type Doors, isLoopback, openFileLimit } from '@fame-fabric/shared/router';
import type { Access } from '../access/access.ts';
import type { Bindings } from '../bindings.ts';
import type { ClusterView } from '../cluster/status.ts';
import type { MemoryCeiling } from '../memory-ceiling.ts';
import type { History } from '../observe/history.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { UplinkStatus } from '../uplink/uplink.ts';

/** The result of one check. */
export interface Check {
  readonly name: string;
  readonly status: 'ok' | 'warning' | 'failure';
  readonly message: string;
  /** The step that removes the fault. Absent if the status is `ok`. */
  readonly fix?: string | undefined;
}

export interface DoctorDeps {
  access: Access;
  table: SessionTable;
  bindings: Bindings;
  budget: QueueBudget;
  memory: MemoryCeiling;
  history: History;
  uplinks: readonly { readonly status: UplinkStatus }[];
  /** @default this sentinel is in no cluster */
  cluster?: ClusterView | undefined;
  /** Addresses that nodes at other sentinels of the cluster serve. @default none */
  remoteAddresses?: ReadonlySet<string> | undefined;
  isReady: () => boolean;
  doors: Doors | undefined;
  clock: { now(): number };
  /** The certificate of the port. @default the port serves plain HTTP */
  tls?: { readonly validTo: number } | undefined;
}

export interface DoctorOptions {
  readonly host: string;
  readonly maxSessions: number;
}

const DAY_MS = 86_400_000;
/** Rest of the lifetime of a certificate below which it is reported. */
const RENEW_WITHIN_MS = 14 * DAY_MS;
/** Share of a bound above which its use is reported. */
const HIGH_SHARE = 0.8;
const SLOW_LOOP_MS = 100;
/** Descriptors for everything but sessions. */
const RESERVED_DESCRIPTORS = 32;

/** Runs all checks. */
export function runChecks(deps: DoctorDeps, options: DoctorOptions): Check[] {
  return [
    readiness(deps),
    credentials(deps, options),
    ...certificate(deps),
    ...chatAgent(deps),
    ...deps.uplinks.map(({ status }) => uplink(status)),
    ...cluster(deps),
    ...draining(deps),
    sessions(deps, options),
    queues(deps),
    memoryUse(deps),
    ...eventLoop(deps),
  ];
}

const ok = (name: string, message: string): Check => ({ name, status: 'ok', message });
const warning = (name: string, message: string, fix: string): Check => ({
  name,
  status: 'warning',
  message,
  fix,
});
const failure = (name: string, message: string, fix: string): Check => ({
  name,
  status: 'failure',
  message,
  fix,
});

const readiness = ({ isReady }: DoctorDeps): Check =>
  isReady()
    ? ok('readiness', 'The sentinel admits nodes.')
    : failure('readiness', 'The sentinel is shutting down and admits no nodes.', 'Start it again.');

function credentials({ access, tls }: DoctorDeps, { host }: DoctorOptions): Check {
  const name = 'credentials';
  if (access.isCredentialNeeded) {
    return tls === undefined && !isLoopback(host)
      ? warning(
          name,
          'Credentials are required, and connections are not encrypted. Anyone on the network path can read a key.',
          'Set FAME_TLS_CERT_FILE and FAME_TLS_KEY_FILE, or put a proxy with TLS before the sentinel.',
        )
      : ok(name, 'Credentials are required.');
  }
  return isLoopback(host)
    ? ok(name, 'Programs of this machine may attach and call without a credential.')
    : warning(
        name,
        `Every machine that reaches ${host} may attach and call without a credential.`,
        'Add a key (`npx fame-fabric key add NAME`) and restart the sentinel.',
      );
}

function certificate({ clock, tls }: DoctorDeps): Check[] {
  if (tls === undefined) return [];
  const leftMs = tls.validTo - clock.now();
  const until = new Date(tls.validTo).toISOString().slice(0, 10);
  const fix = 'Renew the file that FAME_TLS_CERT_FILE names. The sentinel reads it again without a restart.';
  if (leftMs <= 0) return [failure('certificate', `The TLS certificate expired on ${until}.`, fix)];
  if (leftMs < RENEW_WITHIN_MS) {
    return [warning('certificate', `The TLS certificate expires on ${until}.`, fix)];
  }
  return [ok('certificate', `The TLS certificate is valid until ${until}.`)];
}

function chatAgent({ bindings, doors, remoteAddresses }: DoctorDeps): Check[] {
  const address = doors?.chatAddress;
  if (address === undefined) return [];
  const name = 'chat agent';
  const owner = bindings.owner(address);
  if (owner?.state === 'attached') return [ok(name, `A node serves ${address}.`)];
  if (owner !== undefined) {
    const fix = 'Start the agent again: `npx fame-fabric agent`.';
    return [warning(name, `The node that serves ${address} has lost its connection.`, fix)];
  }
  if (remoteAddresses?.has(address))
    return [ok(name, `A node at another sentinel of the cluster serves ${address}.`)];
  const fix = '`make start` or `npx fame-fabric agent` starts one; FAME_CHAT_ADDRESS names another address.';
  return [warning(name, `No node serves ${address}.`, fix)];
}

function uplink({ kind, url, state, reason }: UplinkStatus): Check {
  if (state === 'attached') return ok(kind, `Attached to ${url}.`);
  const variable = kind === 'parent' ? 'FAME_PARENT_URL' : 'FAME_PEER_URLS';
  const why = reason === undefined ? '' : `: ${reason}`;
  return failure(
    kind,
    `${url} is not reached${why}.`,
    `Start that sentinel, or correct ${variable} and restart this one.`,
  );
}

function cluster({ cluster }: DoctorDeps): Check[] {
  if (cluster === undefined) return [];
  const { lost, members, name, reason, recordsOwners, state } = cluster.status;
  if (state === 'connected') {
    const lostIds = lost.map(({ id }) => id).join(', ');
    const lostChecks =
      lost.length === 0
        ? []
        : [warning('cluster links', `The link to these sentinels was lost: ${lostIds}.`, RESTORE_LINK)];
    const linked = `Linked to ${members.length} other ${members.length === 1 ? 'sentinel' : 'sentinels'} of the cluster "${name}".`;
    if (recordsOwners) return [ok('cluster', linked), ...lostChecks];
    const text = `${linked} Owners of addresses are not recorded, so addresses of a lost sentinel are free at once. Changes of the policy and of keys do not reach the others.`;
    return [warning('cluster', text, 'Start nats-server with JetStream (--jetstream).'), ...lostChecks];
  }
  const message = `NATS is not reached: ${reason}. Only nodes of this sentinel can be called.`;
  return [failure('cluster', message, 'Start NATS, or correct FAME_CLUSTER_NATS and restart the sentinel.')];
}

const RESTORE_LINK =
  'Start the sentinel again, or restore its connection to NATS. A sentinel that was removed is reported for 10 minutes.';

function draining({ table }: DoctorDeps): Check[] {
  const paths = [...table.all()].filter((session) => session.isDraining).map(({ path }) => path);
  if (paths.length === 0) return [];
  const shown = paths.slice(0, 3).join(', ');
  const more = paths.length > 3 ? ` and ${paths.length - 3} more` : '';
  const fix = 'Stop the process once its calls have ended. To put it back into service, disconnect it.';
  return [warning('draining', `These nodes get no new calls: ${shown}${more}.`, fix)];
}

function sessions({ table }: DoctorDeps, { maxSessions }: DoctorOptions): Check {
  const files = openFileLimit() - RESERVED_DESCRIPTORS;
  const [limit, fix] =
    files <= maxSessions
      ? [files, 'Raise the limit of open files (`ulimit -n`) and restart the sentinel.']
      : [maxSessions, 'Raise FAME_MAX_SESSIONS, or add a sentinel.'];
  const message = `${table.size} of ${limit} sessions are in use.`;
  return table.size >= limit * HIGH_SHARE ? warning('sessions', message, fix) : ok('sessions', message);
}

function queues({ budget, table }: DoctorDeps): Check {
  const bytes = budget.queuedBytes + budget.socketBytes;
  const used = `Queues and sockets hold ${megabytes(bytes)} of ${megabytes(budget.queueTotalBytes)}.`;
  if (bytes >= budget.queueTotalBytes * HIGH_SHARE) {
    return failure(
      'queues',
      used,
      'Find the nodes that do not read (`npx fame-fabric ps`), or raise FAME_QUEUE_TOTAL_BYTES.',
    );
  }
  const busy = [...table.all()].filter(({ outbound }) => outbound.isBusy);
  if (busy.length === 0) return ok('queues', used);
  const message = `${busy[0]!.path}${busy.length > 1 ? ` and ${busy.length - 1} more` : ''} read more slowly than others send to them.`;
  return warning('queues', message, 'Give that program more time on the CPU, or start more copies of it.');
}

function memoryUse({ memory }: DoctorDeps): Check {
  const used = `The process uses ${megabytes(memory.usedBytes)} of ${megabytes(memory.ceilingBytes)} of memory.`;
  const fix = 'Give the sentinel more memory (FAME_MEMORY_LIMIT_BYTES), or add a sentinel.';
  if (memory.usedBytes > memory.ceilingBytes) {
    return failure('memory', `${used} Attaches are refused.`, fix);
  }
  return memory.usedBytes > memory.ceilingBytes * HIGH_SHARE
    ? warning('memory', used, fix)
    : ok('memory', used);
}

function eventLoop({ history }: DoctorDeps): Check[] {
  const delay = history.last?.loopDelayMs?.p99;
  if (delay === undefined) return [];
  const message = `In the last 5 s, 99 % of the events waited less than ${timeText(delay)}.`;
  return [
    delay > SLOW_LOOP_MS
      ? warning('event loop', message, 'The CPU is busy. Stop other programs, or add a sentinel.')
      : ok('event loop', message),
  ];
}

const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`;
