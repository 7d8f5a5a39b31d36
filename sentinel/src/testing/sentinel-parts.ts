// The parts of a sentinel without port, timers or sockets, and nodes on fake transports: the fixture of unit tests.
import { type Envelope, type Frame, makeEnvelope, type NodeAttachAck } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { AddressChallenge } from '../address-challenge.ts';
import { Bindings } from '../bindings.ts';
import { Control } from '../control.ts';
import { Counters } from '../counters.ts';
import { Admission } from '../door/admission.ts';
import { TraceTap } from '../http/trace.ts';
import { Identity } from '../identity.ts';
import { OpenCalls } from '../open-calls.ts';
import { Router } from '../route.ts';
import { CoarseClock } from '../session/coarse-clock.ts';
import type { Session } from '../session/session.ts';
import { SessionTable } from '../session/session-table.ts';
import { Sessions } from '../session/sessions.ts';
import { Sweeper } from '../session/sweeper.ts';
import { Announcements } from '../uplink/announcements.ts';
import { FakeTransport } from './fake-transport.ts';

export interface FakeNode {
  readonly transport: FakeTransport;
  readonly session: Session;
  readonly path: string;
  /** Sends one envelope to the router; returns the envelopes that the node received since the last call. */
  send(frame: Frame, header?: Partial<Envelope>): Envelope[];
  /** Binds an address and takes the ack. */
  bind(address: string): void;
  /** Sends a JSON-RPC call as a node does. */
  call(to: string, corrId: string, more?: Partial<Envelope>): Envelope[];
  /** Answers a call. */
  reply(to: Envelope, result: unknown): void;
  /** Ends the connection. @default 1006, a lost connection; 1000 is a node that leaves */
  lose(closeCode?: number): void;
}

export interface PartsOptions {
  resumeWindowMs?: number;
  maxAddressesPerNode?: number;
}

export function makeParts(options: PartsOptions = {}) {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const identity = new Identity('S');
  const time = new CoarseClock(clock);
  const counters = new Counters();
  const trace = new TraceTap();
  const bindings = new Bindings();
  const calls = new OpenCalls(100);
  const table = new SessionTable();
  const announcer = new Announcements({ identity, table, bindings, log });
  const sessions = new Sessions(
    { identity, clock, time, table, bindings, calls, announcer, counters, log },
    { resumeWindowMs: options.resumeWindowMs ?? 5_000 },
  );
  const challenge = new AddressChallenge({ bindings, sessions, log });
  const control = new Control(
    { identity, sessions, bindings, challenge, calls, announcer, trace },
    { maxAddressesPerNode: options.maxAddressesPerNode ?? 10 },
  );
  const router = new Router({
    identity,
    table,
    sessions,
    bindings,
    calls,
    control,
    counters,
    trace,
    log,
  });
  const admission = new Admission(
    { identity, clock, table, sessions, router, announcer, counters, log },
    { maxSessions: 5_000 },
  );
  const closeUnattached = (openedBefore: number): void => admission.closeUnattached(openedBefore);
  const sweeper = new Sweeper({ clock, time, table, sessions, counters, log, closeUnattached });

  const attach = (
    systemId: string,
    more: { instanceId?: string; capabilities?: string[]; peer?: boolean } = {},
  ): FakeNode => {
    const transport = new FakeTransport();
    const origin = more.peer ? 'peer' : 'downstream';
    const frame: Frame = {
      type: 'NodeAttach',
      originType: origin,
      systemId,
      instanceId: more.instanceId ?? `instance-${systemId}`,
      ...(more.capabilities ? { capabilities: more.capabilities } : {}),
    };
    admission.open(transport, { origin, systemId });
    transport.receive(makeEnvelope(frame, { corrId: 'attach' }));
    const ack = transport.takeFirst();
    const { ok, assignedPath: path } = ack.frame as NodeAttachAck;
    if (!ok) throw new Error(`refused: ${JSON.stringify(ack)}`);
    const session = table.byPath(path!)!;
    const node: FakeNode = {
      transport,
      session,
      path: path!,
      send(frame, header = {}) {
        transport.receive(makeEnvelope(frame, { flowId: `f-${systemId}`, ...header }));
        return transport.take();
      },
      bind(address) {
        const [answer] = node.send(
          { type: 'AddressBind', address },
          { corrId: 'bind', rtype: 1, replyTo: `__sys__@${path}` },
        );
        if ((answer!.frame as { ok: boolean }).ok !== true) throw new Error(JSON.stringify(answer));
      },
      call(to, corrId, header = {}) {
        const payload = { jsonrpc: '2.0', id: corrId, method: 'echo', params: {} };
        return node.send(
          { type: 'Data', payload },
          { to, corrId, rtype: 2, replyTo: `__rpc__${systemId}@${path}`, ...header },
        );
      },
      reply(request, result) {
        const payload = { jsonrpc: '2.0', id: request.corrId!, result };
        transport.receive(
          makeEnvelope(
            { type: 'Data', payload },
            { to: request.replyTo!, corrId: request.corrId!, flowId: `f-${systemId}` },
          ),
        );
      },
      lose: (closeCode = 1006) => transport.onClose?.(closeCode, ''),
    };
    return node;
  };
  return {
    clock,
    log,
    identity,
    time,
    counters,
    trace,
    bindings,
    calls,
    table,
    announcer,
    sessions,
    control,
    router,
    admission,
    sweeper,
    attach,
  };
}
