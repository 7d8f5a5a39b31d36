// The parts of a sentinel between its sockets and its HTTP routes: everything that needs neither a port nor a started timer.
import type { Clock, Logger } from '@fame-fabric/shared';
import { tracing } from '@fame-fabric/shared/router';
import type { Access } from './access/access.ts';
import { type Audit, NO_AUDIT } from './access/audit-log.ts';
import { Guard } from './access/guard.ts';
import { Permissions, type PolicySource } from './access/permissions.ts';
import type { ClusterPolicy } from './access/policy/cluster-policy.ts';
import { PolicyChange } from './access/policy-change.ts';
import { Quotas } from './access/quotas.ts';
import { Renewals } from './access/renewals.ts';
import type { RevokedKeys } from './access/revoked-keys.ts';
import { AddressChallenge } from './address-challenge.ts';
import { Bindings } from './bindings.ts';
import type { Cluster, ClusterDeps } from './cluster/cluster.ts';
import type { SentinelConfig } from './config.ts';
import { Control } from './control.ts';
import { Counters } from './counters.ts';
import { Admission } from './door/admission.ts';
import { LostPaths } from './door/lost-paths.ts';
import { TraceTap } from './http/trace.ts';
import { Identity } from './identity.ts';
import { LimitedLog } from './limited-log.ts';
import { MemoryCeiling } from './memory-ceiling.ts';
import { HopLatency } from './observe/hop-latency.ts';
import { HopSpans } from './observe/hop-spans.ts';
import { OpenCalls } from './open-calls.ts';
import type { Overlay, Signatures } from './overlay/overlay.ts';
import { Router } from './route.ts';
import { Brake } from './session/brake.ts';
import { CoarseClock } from './session/coarse-clock.ts';
import { QueueBudget } from './session/queue-budget.ts';
import { RateBrake } from './session/rate-brake.ts';
import { SessionTable } from './session/session-table.ts';
import { type SessionListener, Sessions } from './session/sessions.ts';
import { Sweeper } from './session/sweeper.ts';
import { Announcements } from './uplink/announcements.ts';
import { PeerIds } from './uplink/peer-ids.ts';
import { WhoIsAnswers } from './who-is.ts';

export interface PartsOptions
  extends Pick<
    SentinelConfig,
    | 'resumeWindowMs'
    | 'addressHoldMs'
    | 'maxSessions'
    | 'maxAddressesPerNode'
    | 'maxOpenCallsPerNode'
    | 'queueBytes'
    | 'queueTotalBytes'
    | 'memoryLimitBytes'
  > {
  /** Id of the sentinel. */
  readonly id: string;
  /** @default none */
  readonly peerIds?: readonly string[] | undefined;
}

export interface PartsDeps {
  clock: Clock;
  log: Logger;
  access: Access;
  /** Keys of the profile `overlay`. @default envelopes are not signed */
  signatures?: Signatures | undefined;
  /** @default roles decide */
  policy?: PolicySource | undefined;
  /** Reads changed TLS files again. @default the port serves plain HTTP */
  tls?: { reload(): void } | undefined;
  /** @default none */
  audit?: Audit | undefined;
  /** Joins the cluster of FAME_CLUSTER. @default none */
  joinCluster?: ((deps: ClusterDeps) => Cluster) | undefined;
  /** The rules that the sentinels of the cluster share. @default each sentinel has its own */
  rules?: { policy: ClusterPolicy; revokedKeys: RevokedKeys } | undefined;
  /** Resident memory of the process, in bytes. @default that of this process */
  rssBytes?: (() => number) | undefined;
}

export function makeParts(deps: PartsDeps, options: PartsOptions) {
  const { access, clock, signatures } = deps;
  const log = new LimitedLog(deps);
  const permissions = new Permissions({
    source: deps.policy,
    isCredentialNeeded: access.isCredentialNeeded,
  });
  const guard = new Guard({ permissions, audit: deps.audit ?? NO_AUDIT, log });
  const identity = new Identity(options.id, signatures?.sign);
  const time = new CoarseClock(clock);
  const counters = new Counters();
  const hops = new HopLatency();
  const quotas = new Quotas({ permissions, clock, counters });
  const budget = new QueueBudget(options);
  const memory = new MemoryCeiling(options, deps.rssBytes);
  const trace = new TraceTap(clock);
  const bindings = new Bindings(options.maxAddressesPerNode);
  const calls = new OpenCalls(options.maxOpenCallsPerNode);
  const table = new SessionTable();
  const announcer = new Announcements({
    identity,
    table,
    bindings,
    log,
    cluster: deps.joinCluster && {
      bound: (address) => cluster?.bound(address),
      unbound: (address) => cluster?.unbound(address),
      advertised: (capability) => cluster?.advertised(capability),
      withdrawn: (capability) => cluster?.withdrawn(capability),
    },
  });
  const listener: SessionListener = {
    lost: (session) => challenge.lost(session),
    removed(session, removed, isFree) {
      announcer.removed(session, removed);
      challenge.removed(session, removed, isFree);
      if (session.state !== 'gone') return;
      overlay?.ended(session);
      lostPaths.settled(session);
    },
  };
  const sessions = new Sessions(
    { identity, clock, time, budget, table, bindings, calls, listener, quotas, counters, log },
    options,
  );
  const challenge = new AddressChallenge({ bindings, sessions, clock, log }, options);
  const cluster: Cluster | undefined = deps.joinCluster?.({
    guard,
    identity,
    clock,
    sessions,
    table,
    calls,
    trace,
    bindings,
    challenge,
    listener,
    budget,
    log,
    rules: deps.rules && { ...deps.rules, enforce: () => sweeper.sweep() },
    receive: (from, bytes) => router.receive(from, bytes),
    routeAgain: (from, bytes, outcome) => router.routeAgain(from, bytes, outcome),
  });
  const rateBrake = new RateBrake({ clock, sessions, counters, log });
  const whoIs = new WhoIsAnswers({ identity, table, calls, bindings, permissions, clock });
  const policyChange = new PolicyChange({
    guard,
    identity,
    table,
    sessions,
    bindings,
    calls,
    listener,
  });
  const renewals = new Renewals({ access, clock, guard, identity, policyChange, sessions });
  const control = new Control(
    {
      guard,
      identity,
      table,
      sessions,
      bindings,
      challenge,
      cluster,
      calls,
      announcer,
      listener,
      rateBrake,
      renewals,
      trace,
      whoIs,
    },
    options,
  );
  const brake = new Brake({ clock, sessions, counters, log });
  const router = new Router({
    guard,
    identity,
    time,
    table,
    sessions,
    bindings,
    calls,
    control,
    brake,
    rateBrake,
    counters,
    hops,
    trace,
    whoIs,
    cluster,
    hopSpans: tracing && new HopSpans(tracing, clock),
    log,
  });
  const overlay: Overlay | undefined = signatures?.makeOverlay({
    guard,
    identity,
    clock,
    table,
    bindings,
    router,
  });
  const peerIds = new PeerIds(options.peerIds ?? []);
  const lostPaths = new LostPaths({ clock, sessions, log });
  const admission = new Admission(
    {
      guard,
      identity,
      clock,
      lostPaths,
      table,
      sessions,
      router,
      announcer,
      peerIds,
      policyChange,
      quotas,
      counters,
      memory,
      overlay,
      log,
    },
    options,
  );
  const sweeper = new Sweeper({
    policyChange,
    tls: deps.tls,
    access,
    quotas,
    clock,
    time,
    table,
    sessions,
    budget,
    memory,
    counters,
    log,
  });
  return {
    guard,
    policyChange,
    quotas,
    log,
    identity,
    counters,
    hops,
    budget,
    memory,
    trace,
    bindings,
    calls,
    table,
    announcer,
    peerIds,
    sessions,
    router,
    overlay,
    cluster,
    admission,
    sweeper,
  };
}
