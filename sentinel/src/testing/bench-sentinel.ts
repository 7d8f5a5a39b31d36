// The parts of a sentinel without port, timers or sockets, and nodes on fake wires: what the tests of the path stand on.
import { type Envelope, type Frame, makeEnvelope, type NodeAttachAck } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { Bindings } from '../bindings.ts';
import { Control } from '../control.ts';
import { Admission } from '../door/admission.ts';
import { Counters } from '../http/metrics.ts';
import { TraceTap } from '../http/trace.ts';
import { OpenCalls } from '../open-calls.ts';
import { Router } from '../route.ts';
import type { Session } from '../session/session.ts';
import { Sessions } from '../session/sessions.ts';
import { Sweeper } from '../session/sweeper.ts';
import { FakeWire } from './fake-wire.ts';

export interface FakeNode {
  readonly wire: FakeWire;
  readonly session: Session;
  readonly path: string;
  /** Sends one envelope into the router and answers what the node itself got back. */
  say(frame: Frame, header?: Partial<Envelope>): Envelope[];
  /** Binds an address and takes the ack. */
  bind(address: string): void;
  /** A JSON-RPC call as a node sends it. */
  call(to: string, corrId: string, more?: Partial<Envelope>): Envelope[];
  /** The answer to a call. */
  reply(to: Envelope, result: unknown): void;
  lose(): void;
}

export function benchSentinel(options: { resumeWindowMs?: number; maxAddressesPerNode?: number } = {}) {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const self = { id: 'S', path: '/S', sid: 'sid', flowId: 'sentinel-flow', software: 'fame-fabric/test' };
  const ticker = { now: clock.now() };
  const counters = new Counters();
  const trace = new TraceTap();
  const bindings = new Bindings();
  const calls = new OpenCalls(100);
  const sessions = new Sessions(
    { self, clock, bindings, calls, counters, log },
    { resumeWindowMs: options.resumeWindowMs ?? 5_000 },
  );
  const control = new Control(
    { self, sessions, bindings, calls, trace, log },
    { maxAddressesPerNode: options.maxAddressesPerNode ?? 10 },
  );
  const router = new Router({ self, ticker, sessions, bindings, calls, control, counters, trace, log });
  const admission = new Admission({ self, ticker, sessions, counters, log }, { maxSessions: 5_000 });
  const sweeper = new Sweeper({ clock, ticker, sessions, counters, log, closeUnattached: () => {} });

  const attach = (
    systemId: string,
    more: { instanceId?: string; capabilities?: string[]; peer?: boolean } = {},
  ): FakeNode => {
    const wire = new FakeWire();
    const origin = more.peer ? 'peer' : 'downstream';
    const frame: Frame = {
      type: 'NodeAttach',
      originType: origin,
      systemId,
      instanceId: more.instanceId ?? `instance-${systemId}`,
      ...(more.capabilities ? { capabilities: more.capabilities } : {}),
    };
    const bytes = Buffer.from(JSON.stringify(makeEnvelope(frame, { corrId: 'attach' })));
    const session = admission.admit(wire, { origin, systemId }, bytes);
    if (session === undefined) throw new Error(`refused: ${JSON.stringify(wire.take())}`);
    const [ack] = wire.take();
    const path = (ack!.frame as NodeAttachAck).assignedPath!;
    const send = (envelope: Envelope): void => router.receive(session, Buffer.from(JSON.stringify(envelope)));
    const node: FakeNode = {
      wire,
      session,
      path,
      say(frame, header = {}) {
        send(makeEnvelope(frame, { flowId: `f-${systemId}`, ...header }));
        return wire.take();
      },
      bind(address) {
        const [answer] = node.say(
          { type: 'AddressBind', address },
          { corrId: 'bind', rtype: 1, replyTo: `__sys__@${path}` },
        );
        if ((answer!.frame as { ok: boolean }).ok !== true) throw new Error(JSON.stringify(answer));
      },
      call(to, corrId, header = {}) {
        const payload = { jsonrpc: '2.0', id: corrId, method: 'echo', params: {} };
        return node.say(
          { type: 'Data', payload },
          { to, corrId, rtype: 2, replyTo: `__rpc__${systemId}@${path}`, ...header },
        );
      },
      reply(request, result) {
        const payload = { jsonrpc: '2.0', id: request.corrId!, result };
        send(
          makeEnvelope(
            { type: 'Data', payload },
            { to: request.replyTo!, corrId: request.corrId!, flowId: `f-${systemId}` },
          ),
        );
      },
      lose: () => sessions.detach(session, wire),
    };
    return node;
  };
  return {
    clock,
    log,
    self,
    ticker,
    counters,
    trace,
    bindings,
    calls,
    sessions,
    control,
    router,
    admission,
    sweeper,
    attach,
  };
}
