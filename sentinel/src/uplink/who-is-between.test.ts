// WhoIs between two sentinels: a parent and a child that attached to it, each with an agent and callers of its own.
import type { Envelope, Principal, WhoIsAck } from '@fame-fabric/shared';
import { memoryPair, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { type FakeNode, makeTestParts } from '../testing/sentinel-parts.ts';
import { Uplink } from './uplink.ts';
import { UplinkTransport } from './uplink-transport.ts';

const ADA: Principal = {
  id: 'jwt:login.example.com/ada',
  roles: ['client', 'admin'],
  claims: { team: 'blue' },
};
const LOCAL: Principal = { id: 'local', roles: ['admin'] };
const KEY: Principal = { id: 'bob', roles: ['client'] };
const SENTINEL: Principal = { id: 'child-key', roles: ['sentinel'] };

/** A parent `P` and a child `C`. The child has the credential of `childIs` at its parent. */
async function family(childIs: Principal) {
  const parent = makeTestParts({ id: 'P' });
  const child = makeTestParts({ id: 'C' });
  const dial = async () => {
    const [ours, theirs] = memoryPair();
    const authentication = { ok: true, principal: childIs } as const;
    parent.admission.open(new UplinkTransport(theirs, 'ws://child'), {
      origin: 'downstream',
      systemId: 'C',
      authentication,
    });
    return ours;
  };
  const uplink = new Uplink({ ...child, dial }, { url: 'ws://parent', kind: 'parent' });
  await uplink.connect(1_000);
  await settle();
  return { parent, child };
}

/** The caller at one sentinel calls the agent at the other one, which asks who called. */
async function asked(
  [callerAt, agentAt]: readonly ReturnType<typeof makeTestParts>[],
  principal: Principal | undefined,
): Promise<WhoIsAck> {
  const agent: FakeNode = agentAt!.attach('agent', { capabilities: ['fame.capability.cancel'] });
  agent.bind('math@fame.fabric');
  await settle();
  const caller = callerAt!.attach('caller', principal ? { principal } : {});
  const replyTo = `__rpc__caller@${caller.path}`;
  caller.call('math@fame.fabric', 'c', { replyTo });
  await settle();
  const request = agent.transport.take().find(({ corrId }) => corrId === 'c');
  expect(request?.replyTo).toBe(replyTo);
  const received: Envelope[] = agent.send(
    { type: 'WhoIs', address: replyTo, corrId: 'c' },
    { corrId: 'w', rtype: 1 },
  );
  await settle();
  received.push(...agent.transport.take());
  return received.find(({ corrId }) => corrId === 'w')!.frame as WhoIsAck;
}

test.each([
  ['from the child to the parent', ['child', 'parent']],
  ['from the parent to the child', ['parent', 'child']],
] as const)('%s the principal of a token passes, without its role of an operator', async (_, [from, to]) => {
  const parts = await family(SENTINEL);
  expect(await asked([parts[from], parts[to]], ADA)).toMatchObject({
    ok: true,
    principal: {
      id: ADA.id,
      roles: ['client'],
      claims: { team: 'blue' },
      rights: { conversations: 'own' },
    },
  });
});

test.each([
  ['the local key', LOCAL],
  ['a key', KEY],
  ['no credential', undefined],
])('a caller with %s is anonymous at the other sentinel', async (_, principal) => {
  for (const [from, to] of [
    ['child', 'parent'],
    ['parent', 'child'],
  ] as const) {
    const parts = await family(SENTINEL);
    expect(await asked([parts[from], parts[to]], principal)).toMatchObject({
      ok: true,
      principal: { id: 'anonymous', roles: [] },
    });
  }
});

test('a parent does not trust the answer of a child without the credential of a sentinel', async () => {
  const { parent, child } = await family(KEY);
  expect(await asked([child, parent], ADA)).toMatchObject({ ok: true, principal: { id: 'anonymous' } });
});
