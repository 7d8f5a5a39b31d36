// Pair flows: one flow for each pair of caller and callee, with credit of its own, removed when idle.
import { describe, expect, it } from 'vitest';
import { type DataFrame, type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { attach, serve } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import { Neighbor } from './neighbor.ts';
import type { Transport } from './transport.ts';

const sink = (): Transport => ({
  send: () => true,
  close: () => {},
  terminate: () => {},
  bufferedBytes: 0,
  onMessage: undefined,
  onClose: undefined,
});

function neighborWithPairs(): Neighbor {
  const neighbor = new Neighbor('main', undefined);
  neighbor.hasPairFlows = true;
  neighbor.attach(sink());
  return neighbor;
}

const message = (): Envelope => makeEnvelope({ type: 'Data', payload: 1 });

/** A sentinel that grants no credit and records the Data envelopes. */
function stingy() {
  const sentinel = new ScriptedSentinel();
  sentinel.grantsCredit = false;
  const data: Envelope<DataFrame>[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type !== 'Data') return true;
    data.push(envelope as Envelope<DataFrame>);
    return false;
  };
  return { sentinel, data };
}

describe('credit by bytes', () => {
  const sizes = [300_000, 300_000, 400_000, 50_000, 10_000];
  const sendAll = (neighbor: Neighbor): boolean[] =>
    sizes.map((size) => neighbor.sendEncoded(neighbor.main, message(), new Uint8Array(size)));

  it('HD10: a flow waits for credit above the window in bytes, and continues when the credit of its first messages returns', () => {
    const neighbor = neighborWithPairs();
    neighbor.byteWindow = 600_000;
    expect(sendAll(neighbor)).toEqual([true, true, false, false, false]);
    neighbor.addCredit('main', 1);
    expect(neighbor.waitingCount).toBe(2);
    neighbor.addCredit('main', 1);
    expect(neighbor.waitingCount).toBe(0);
    expect(neighbor.main.inFlightBytes).toBe(460_000);
  });

  it('starts with an empty window after a new connection, and when the whole credit has returned', () => {
    const neighbor = neighborWithPairs();
    neighbor.byteWindow = 600_000;
    sendAll(neighbor);
    neighbor.attach(sink());
    neighbor.flush();
    expect(neighbor.waitingCount).toBe(0);
    expect(neighbor.main.inFlightBytes).toBe(460_000);
    neighbor.addCredit('main', 32);
    expect(neighbor.main.inFlightBytes).toBe(0);
  });

  it('counts no bytes at a sentinel that grants credit by messages only', () => {
    const neighbor = neighborWithPairs();
    expect(sendAll(neighbor)).toEqual([true, true, true, true, true]);
    expect(neighbor.main.inFlightBytes).toBe(0);
  });
});

describe('pair flows', () => {
  it('HD10: a callee whose credit is withheld does not delay the requests to another one', async () => {
    const { sentinel, data } = stingy();
    const client = await attach(sentinel);
    for (let n = 0; n < 40; n++) client.send('slow@fame.fabric', n);
    client.send('other@fame.fabric', 'in time');
    await settle();
    expect(data.filter(({ to }) => to === 'slow@fame.fabric')).toHaveLength(32);
    expect(data.at(-1)).toMatchObject({ to: 'other@fame.fabric', frame: { payload: 'in time' } });
    sentinel.grantCredit(sentinel.node, data[0]!.flowId!);
    await settle();
    expect(data.filter(({ to }) => to === 'slow@fame.fabric').map(({ frame }) => frame.payload)).toEqual(
      Array.from({ length: 40 }, (_, n) => n),
    );
  });

  it('HD10: a caller that does not read its answers does not delay those of another one', async () => {
    const { sentinel, data } = stingy();
    const agent = await attach(sentinel, { systemId: 'a' });
    await agent.bind(
      'a@fame.fabric',
      serve((call) => call.reply(call.id)),
    );
    const request = (caller: string, corrId: string) =>
      sentinel.send(
        sentinel.node,
        makeEnvelope(
          { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, method: 'm' } },
          { to: 'a@fame.fabric', replyTo: `__rpc__x@/S/${caller}`, corrId, rtype: 2 },
        ),
      );
    for (let n = 0; n < 40; n++) request('slow', `slow-${n}`);
    request('other', 'other');
    await settle();
    expect(data.map(({ corrId }) => corrId)).toEqual([
      ...Array.from({ length: 32 }, (_, n) => `slow-${n}`),
      'other',
    ]);
    expect(agent.counts.waiting).toBe(8);
  });

  it('are not used at a foreign sentinel', async () => {
    const { sentinel, data } = stingy();
    sentinel.software = undefined;
    const client = await attach(sentinel);
    client.send('a@fame.fabric', 1);
    client.send('b@fame.fabric', 2);
    await settle();
    expect(new Set(data.map(({ flowId }) => flowId)).size).toBe(1);
    expect(client.counts.pairFlows).toBe(0);
  });

  it('share one flow for all addresses at a path, and have one for each logical address', () => {
    const neighbor = neighborWithPairs();
    expect(neighbor.flowTo('x@/S/a')).toBe(neighbor.flowTo('y@/S/a'));
    expect(neighbor.flowTo('x@/S/a')).not.toBe(neighbor.flowTo('x@/S/b'));
    expect(neighbor.flowTo('x@fame.fabric')).not.toBe(neighbor.flowTo('y@fame.fabric'));
    expect(neighbor.pairCount).toBe(4);
  });

  it('of 10,000 callers are removed after two idle heartbeats', async () => {
    const { sentinel, data } = stingy();
    sentinel.keepsEnvelopes = false;
    const clock = new ManualClock();
    const agent = await attach(sentinel, { clock });
    for (let n = 0; n < 10_000; n++) agent.send(`__rpc__x@/S/${n}`, n);
    await settle();
    expect(data).toHaveLength(10_000);
    expect(agent.counts.pairFlows).toBe(10_000);
    await clock.run(15_000);
    expect(agent.counts.pairFlows).toBe(10_000);
    agent.send('__rpc__x@/S/0', 'again');
    await clock.run(15_000);
    expect(agent.counts.pairFlows).toBe(1);
    await clock.run(15_000);
    expect(agent.counts.pairFlows).toBe(0);
  });

  it('stay while messages wait or credit is due', () => {
    const neighbor = neighborWithPairs();
    const waiting = neighbor.flowTo('waiting@fame.fabric');
    for (let n = 0; n < 33; n++) neighbor.send(waiting, message());
    const due = neighbor.flowTo('due@fame.fabric');
    for (let n = 0; n < 24; n++) neighbor.send(due, message());
    neighbor.flowTo('idle@fame.fabric');
    for (let n = 0; n < 5; n++) neighbor.removeIdleFlows();
    expect(neighbor.pairCount).toBe(2);
    neighbor.addCredit(waiting.id, 32);
    neighbor.addCredit(due.id, 32);
    neighbor.removeIdleFlows();
    expect(neighbor.pairCount).toBe(0);
    expect(neighbor.waitingCount).toBe(0);
  });

  it('are at most 16,384: the oldest idle ones are evicted, and without an idle one the main flow is shared', () => {
    const neighbor = neighborWithPairs();
    const open = (count: number) =>
      Array.from({ length: count }, (_, n) => neighbor.flowTo(`a${n}@fame.fabric`));
    const flows = open(20_000);
    expect(neighbor.pairCount).toBe(16_384);
    expect(flows).not.toContain(neighbor.main);
    const full = neighborWithPairs();
    for (let n = 0; n < 16_384; n++) {
      const flow = full.flowTo(`a${n}@fame.fabric`);
      flow.credit = 0;
    }
    expect(full.flowTo('new@fame.fabric')).toBe(full.main);
  });
});
