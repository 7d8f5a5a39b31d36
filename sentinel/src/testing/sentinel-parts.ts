// The parts of a sentinel without port, timers or sockets, and nodes on fake transports: the fixture of unit tests.
import {
  type Envelope,
  type Frame,
  makeEnvelope,
  type NodeAttachAck,
  type Principal,
} from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { Access } from '../access/access.ts';
import type { Audit } from '../access/audit-log.ts';
import type { PolicySource } from '../access/permissions.ts';
import type { Bus } from '../cluster/bus.ts';
import type { ClusterOptions } from '../cluster/cluster.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { Signatures } from '../overlay/overlay.ts';
import { makeParts, type PartsDeps, type PartsOptions } from '../parts.ts';
import type { Session } from '../session/session.ts';
import { FakeTransport } from './fake-transport.ts';

export interface FakeNode {
  readonly transport: FakeTransport;
  readonly session: Session;
  readonly path: string;
  readonly resumeToken: string | undefined;
  /** The NodeAttachAck. */
  readonly ack: Envelope;
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

const DEFAULTS: PartsOptions = Object.freeze({
  id: 'S',
  resumeWindowMs: 5_000,
  addressHoldMs: 60_000,
  maxSessions: 5_000,
  maxAddressesPerNode: 10,
  maxOpenCallsPerNode: 5_000,
  queueBytes: 8_388_608,
  queueTotalBytes: 50_331_648,
  memoryLimitBytes: 1_000_000_000,
});

export interface TestOptions extends Partial<PartsOptions> {
  /** @default without a local key */
  access?: Access;
  /** @default roles decide */
  policy?: PolicySource;
  audit?: Audit;
  /** @default a new one */
  clock?: ManualClock;
  /** Resident memory that the sentinel measures. @default 0 */
  rssBytes?: () => number;
  /** Keys of the profile `overlay`. @default envelopes are not signed */
  signatures?: Signatures;
  /** Bus of a cluster. @default the sentinel is in no cluster */
  bus?: Bus;
  /** Table of owners of the cluster. @default none */
  owners?: ClusterOptions['owners'];
  /** Rules that the sentinels of the cluster share. @default each sentinel has its own */
  rules?: PartsDeps['rules'];
}

export function makeTestParts({
  access = new Access({ sources: [] }),
  clock = new ManualClock(),
  rssBytes = () => 0,
  signatures,
  policy,
  audit,
  bus,
  owners,
  rules,
  ...given
}: TestOptions = {}) {
  const log = new CaptureLog();
  const options = { ...DEFAULTS, ...given };
  const deps: PartsDeps = { access, audit, clock, log, policy, rssBytes, rules, signatures };
  if (bus !== undefined) {
    deps.joinCluster = (parts) =>
      new Cluster(bus, parts, {
        name: 'test',
        resumeWindowMs: options.resumeWindowMs,
        addressHoldMs: options.addressHoldMs,
        owners,
      });
  }
  const parts = makeParts(deps, options);
  const { admission, peerIds, table } = parts;

  const attach = (
    systemId: string,
    more: {
      instanceId?: string;
      capabilities?: string[];
      peer?: boolean;
      principal?: Principal;
      /** Wall time in ms at which the credential expires. */
      expiresAt?: number | undefined;
      resumeToken?: string | undefined;
      /** Public keys of the node. */
      keys?: readonly unknown[];
      /** Signs what the node sends. */
      sign?: (envelope: Envelope, path: string) => void;
    } = {},
  ): FakeNode => {
    const transport = new FakeTransport();
    const origin = more.peer ? 'peer' : 'downstream';
    if (more.peer) peerIds.learn(systemId, systemId);
    const frame: Frame = {
      type: 'NodeAttach',
      originType: origin,
      systemId,
      instanceId: more.instanceId ?? `instance-${systemId}`,
      ...(more.capabilities ? { capabilities: more.capabilities } : {}),
      ...(more.resumeToken === undefined ? {} : { resumeToken: more.resumeToken }),
      ...(more.keys ? { keys: more.keys } : {}),
    };
    const { principal = ANONYMOUS, expiresAt } = more;
    admission.open(transport, { origin, systemId, authentication: { ok: true, principal, expiresAt } });
    transport.receive(makeEnvelope(frame, { corrId: 'attach' }));
    const ack = transport.takeFirst();
    const { ok, assignedPath: path, resumeToken } = ack.frame as NodeAttachAck;
    if (!ok) throw new Error(`refused: ${JSON.stringify(ack)}`);
    const session = table.byPath(path!)!;
    const deliver = (frame: Frame, header: Partial<Envelope>): void => {
      const envelope = makeEnvelope(frame, {
        ...(more.sign ? { sid: undefined } : {}),
        flowId: `f-${systemId}`,
        ...header,
      });
      more.sign?.(envelope, path!);
      transport.receive(envelope);
    };
    const node: FakeNode = {
      transport,
      session,
      path: path!,
      resumeToken,
      ack,
      send(frame, header = {}) {
        deliver(frame, header);
        return transport.take();
      },
      bind(address) {
        const [answer] = node.send(
          { type: 'AddressBind', address },
          { corrId: 'bind', rtype: 1, replyTo: `__sys__@${path}` },
        );
        // A peer gets no ack.
        if (!more.peer && (answer!.frame as { ok: boolean }).ok !== true)
          throw new Error(JSON.stringify(answer));
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
        deliver({ type: 'Data', payload }, { to: request.replyTo!, corrId: request.corrId! });
      },
      lose: (closeCode = 1006) => transport.onClose?.(closeCode, ''),
    };
    return node;
  };
  return { ...parts, clock, log, attach };
}
