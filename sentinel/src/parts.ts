// The parts of a sentinel between its sockets and its HTTP routes: everything that needs neither a port nor a started timer.
import type { Clock, Logger } from '@fame-fabric/shared';
import type { Access } from './access/access.ts';
import { AddressChallenge } from './address-challenge.ts';
import { Bindings } from './bindings.ts';
import type { SentinelConfig } from './config.ts';
import { Control } from './control.ts';
import { Counters } from './counters.ts';
import { Admission } from './door/admission.ts';
import { TraceTap } from './http/trace.ts';
import { Identity } from './identity.ts';
import { LimitedLog } from './limited-log.ts';
import { OpenCalls } from './open-calls.ts';
import { Router } from './route.ts';
import { CoarseClock } from './session/coarse-clock.ts';
import { SessionTable } from './session/session-table.ts';
import { Sessions } from './session/sessions.ts';
import { Sweeper } from './session/sweeper.ts';
import { Announcements } from './uplink/announcements.ts';
import { PeerIds } from './uplink/peer-ids.ts';

export interface PartsOptions
  extends Pick<
    SentinelConfig,
    'resumeWindowMs' | 'maxSessions' | 'maxAddressesPerNode' | 'maxOpenCallsPerNode'
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
}

export function makeParts(deps: PartsDeps, options: PartsOptions) {
  const { access, clock } = deps;
  const log = new LimitedLog(deps);
  const identity = new Identity(options.id);
  const time = new CoarseClock(clock);
  const counters = new Counters();
  const trace = new TraceTap(clock);
  const bindings = new Bindings();
  const calls = new OpenCalls(options.maxOpenCallsPerNode);
  const table = new SessionTable();
  const announcer = new Announcements({ identity, table, bindings, log });
  const sessions = new Sessions(
    { identity, clock, time, table, bindings, calls, announcer, counters, log },
    options,
  );
  const challenge = new AddressChallenge({ bindings, sessions, log });
  const control = new Control({ identity, sessions, bindings, challenge, calls, announcer, trace }, options);
  const router = new Router({
    identity,
    time,
    table,
    sessions,
    bindings,
    calls,
    control,
    counters,
    trace,
    log,
  });
  const peerIds = new PeerIds(options.peerIds ?? []);
  const admission = new Admission(
    { identity, clock, table, sessions, router, announcer, peerIds, counters, log },
    options,
  );
  const sweeper = new Sweeper({ access, clock, time, table, sessions, counters, log });
  return {
    log,
    identity,
    counters,
    trace,
    bindings,
    calls,
    table,
    announcer,
    peerIds,
    sessions,
    router,
    admission,
    sweeper,
  };
}
