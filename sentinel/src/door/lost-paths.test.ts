// Nodes of naylence that lost their connection: they attach with a new instance id and no token, and must get their path again.
import { type Frame, makeEnvelope, type NodeAttachAck } from '@fame-fabric/shared';
import { ANONYMOUS, CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import { expect, test } from 'vitest';
import { FakeTransport } from '../testing/fake-transport.ts';
import { makeTestParts } from '../testing/sentinel-parts.ts';

function fabric(resumeWindowMs = 5_000) {
  const parts = makeTestParts({ resumeWindowMs });
  const agent = parts.attach('agent', { instanceId: 'one' });
  /** Attaches without waiting for the ack. */
  const begin = (instanceId: string, more: Partial<Frame> = {}, principal = ANONYMOUS): FakeTransport => {
    const transport = new FakeTransport();
    const authentication = { ok: true, principal } as const;
    parts.admission.open(transport, { origin: 'downstream', systemId: 'agent', authentication });
    const frame = { type: 'NodeAttach', originType: 'downstream', systemId: 'agent', instanceId, ...more };
    transport.receive(makeEnvelope(frame as Frame, { corrId: 'attach' }));
    return transport;
  };
  return { ...parts, agent, begin };
}

const pathOf = (transport: FakeTransport): string | undefined =>
  (transport.take()[0]?.frame as NodeAttachAck | undefined)?.assignedPath;

test('a node that lost its connection gets its path again when the resume window ends, without queue and calls', () => {
  const { agent, attach, begin, clock } = fabric();
  const caller = attach('caller');
  agent.bind('a@fame.fabric');
  caller.call('a@fame.fabric', 'c1');
  agent.lose();
  caller.send({ type: 'Data', payload: 'private' }, { to: `x@${agent.path}` });
  const next = begin('two');
  clock.advance(4_999);
  expect(next.sent).toEqual([]);
  clock.advance(1);
  expect(pathOf(next)).toBe('/S/agent');
  expect(next.take()).toEqual([]);
  expect(caller.transport.take().map(({ frame }) => (frame as { code?: string }).code)).toEqual([
    'NODE_GONE',
  ]);
});

test('a further copy gets a new path at once, and each copy its former path', () => {
  const { agent, attach, begin, clock } = fabric();
  const second = attach('agent', { instanceId: 'second' });
  agent.lose();
  const next = begin('two');
  expect(pathOf(begin('third'))).toBe('/S/agent-3');
  clock.advance(5_000);
  expect(pathOf(next)).toBe('/S/agent');
  second.lose();
  const nextSecond = begin('four');
  clock.advance(5_000);
  expect(pathOf(nextSecond)).toBe('/S/agent-2');
});

test('nodes of our software, holders of a token and other principals do not wait', () => {
  const { agent, begin } = fabric();
  agent.lose();
  const ada = { id: 'ada', roles: ['client'] } as const;
  expect(pathOf(begin('ours', { capabilities: [CANCEL_CAPABILITY] } as Partial<Frame>))).toBe('/S/agent-2');
  expect(pathOf(begin('other', {}, ada))).toBe('/S/agent-3');
  expect(pathOf(begin('next', { resumeToken: agent.resumeToken } as Partial<Frame>))).toBe('/S/agent');
});

test('a process that resumes its session keeps the path, and the node that waited gets another one', () => {
  const { agent, begin } = fabric();
  agent.lose();
  const other = begin('two');
  expect(pathOf(begin('one'))).toBe('/S/agent');
  expect(pathOf(other)).toBe('/S/agent-2');
});

test('an attach waits for at most 8 s, and a closed attach leaves no entry', () => {
  const { agent, begin, clock } = fabric(15_000);
  agent.lose();
  const closed = begin('two');
  closed.onClose?.(1006, '');
  const waiting = begin('two');
  clock.advance(8_000);
  expect([closed.sent, pathOf(waiting)]).toEqual([[], '/S/agent-2']);
});

test('a sentinel that stops refuses the attach that waits', () => {
  const { admission, agent, begin, clock } = fabric();
  agent.lose();
  const next = begin('two');
  admission.stop();
  clock.advance(5_000);
  expect(next.take()[0]?.frame).toMatchObject({ ok: false, code: 'ADMIT_FULL' });
});

test('a connection that brings no message for 20 s beside a newer one is closed, and its node gets the path again', () => {
  const { agent, begin, clock, sweeper } = fabric();
  sweeper.start();
  const next = begin('two');
  expect(pathOf(next)).toBe('/S/agent-2');
  clock.advance(10_000);
  agent.transport.onPing?.(4);
  agent.transport.onPong?.(4);
  clock.advance(10_000);
  expect([agent.transport.closed?.code, next.closed?.code]).toEqual([1001, 1012]);
  expect(pathOf(begin('three'))).toBe('/S/agent');
});

test('copies of a script that send heartbeats stay', () => {
  const { agent, begin, clock, sweeper } = fabric();
  sweeper.start();
  const next = begin('two');
  clock.advance(14_000);
  agent.send({ type: 'NodeHeartbeat' });
  clock.advance(6_000);
  expect([agent.transport.closed, next.closed]).toEqual([undefined, undefined]);
});
