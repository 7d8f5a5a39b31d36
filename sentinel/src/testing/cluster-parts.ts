// Sentinels of one cluster on a bus in memory: the fixture of unit tests.
import type { AddressBindAck, Envelope } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { MemoryBusServer } from './memory-bus.ts';
import type { MemoryOwnerStore } from './memory-owners.ts';
import { type FakeNode, makeTestParts, type TestOptions } from './sentinel-parts.ts';

/** Attach options of our own nodes. */
export const OURS = { capabilities: ['fame.capability.cancel', 'fame.capability.pair-flows'] };

/** Lets the bus deliver, and the links send their gathered messages. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Linked sentinels with these ids, on one clock. */
export async function clusterOf<Id extends string>(
  ids: readonly Id[],
  { clock = new ManualClock(), store, ...options }: TestOptions & { store?: MemoryOwnerStore } = {},
) {
  const server = new MemoryBusServer();
  const buses = {} as Record<Id, ReturnType<MemoryBusServer['connect']>>;
  const sentinels = {} as Record<Id, ReturnType<typeof makeTestParts>>;
  for (const id of ids) {
    buses[id] = server.connect();
    sentinels[id] = makeTestParts({ ...options, id, clock, bus: buses[id], owners: store?.tableOf(id) });
  }
  await settle();
  return {
    ...sentinels,
    server,
    buses,
    clock,
    /** Advances the time second by second, so that heartbeats are exchanged. */
    async pass(seconds: number): Promise<void> {
      for (let i = 0; i < seconds; i++) {
        clock.advance(1_000);
        await settle();
      }
    },
  };
}

/** Binds an address, and takes the ack, which waits for the other sentinels. Returns its code, if it is a refusal. */
export async function bind(node: FakeNode, address: string): Promise<string | undefined> {
  requestBind(node, address);
  return bindResult(node);
}

export const requestBind = (node: FakeNode, address: string): void => {
  const envelopes = node.send(
    { type: 'AddressBind', address },
    { corrId: 'bind', rtype: 1, replyTo: `__sys__@${node.path}` },
  );
  node.transport.sent.unshift(...envelopes.map((envelope) => Buffer.from(JSON.stringify(envelope))));
};

export async function bindResult(node: FakeNode): Promise<string | undefined> {
  await settle();
  const ack = node.transport.take().find(({ corrId }) => corrId === 'bind')?.frame as
    | AddressBindAck
    | undefined;
  if (ack === undefined) return 'waits';
  return ack.ok ? undefined : ack.code;
}

export const received = async (node: FakeNode): Promise<Envelope[]> => {
  await settle();
  return node.transport.take();
};

export const replyTo = (node: FakeNode): string => `__rpc__${node.session.systemId}@${node.path}`;
export const codes = (envelopes: readonly Envelope[]): unknown[] =>
  envelopes.flatMap(({ frame }) => (frame.type === 'DeliveryAck' ? (frame.code ?? []) : []));
