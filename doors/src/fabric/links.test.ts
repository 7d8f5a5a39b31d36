// The pool of links: one for each principal, closed when idle, when its credential ends, and to make room.
import { Client } from '@fame-fabric/client';
import { FabricError, isFabricError, Link } from '@fame-fabric/shared';
import { CaptureLog, ManualClock, ScriptedSentinel, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Catalogue } from './catalogue.ts';
import { type Identity, Links } from './links.ts';

function poolOf(options: { maxLinks?: number; idleMs?: number } = {}) {
  const clock = new ManualClock();
  const sentinel = new ScriptedSentinel();
  const clients: Client[] = [];
  const ended = new Set<string>();
  const refused = new Map<string, () => void>();
  const links = new Links(
    { clock, log: new CaptureLog() },
    { maxLinks: options.maxLinks ?? 10, idleMs: options.idleMs ?? 60_000 },
  );
  const identity = (key: string, expiresAt?: number): Identity => ({
    key,
    expiresAt,
    hasEnded: () => ended.has(key),
    async connect(onRefused) {
      const link = new Link({ url: 'memory://test', dial: sentinel.dial });
      await link.connect();
      const client = new Client(link);
      clients.push(client);
      refused.set(key, onRefused);
      const catalogue = new Catalogue({ describe: async () => ({}), addresses: () => [], clock });
      return { client, principal: key, catalogue };
    },
  });
  return { clock, links, clients, ended, refused, identity };
}

const codeOf = async (work: Promise<unknown>): Promise<unknown> => {
  try {
    await work;
    return undefined;
  } catch (error) {
    return isFabricError(error) ? error.code : error;
  }
};

test('requests of one principal share a link, also while it attaches', async () => {
  const { links, identity, clients } = poolOf();
  const uses = await Promise.all([1, 2, 3].map(() => links.acquire(identity('ada'))));
  await links.acquire(identity('bea'));
  expect(clients).toHaveLength(2);
  expect(new Set(uses.map(({ client }) => client)).size).toBe(1);
});

test('a link is closed after its idle time, and not while it is in use', async () => {
  const { links, identity, clients, clock } = poolOf();
  const first = await links.acquire(identity('ada'));
  const second = await links.acquire(identity('ada'));
  first.release();
  first.release();
  clock.advance(120_000);
  expect(clients[0]!.state).toBe('attached');
  const end = second.hold();
  second.release();
  clock.advance(120_000);
  expect(clients[0]!.state).toBe('attached');
  end();
  clock.advance(59_999);
  expect(links.size).toBe(1);
  clock.advance(1);
  await settle();
  expect([links.size, clients[0]!.state, clock.timerCount]).toEqual([0, 'closed', 0]);
});

test('a used link starts its idle time again', async () => {
  const { links, identity, clock } = poolOf();
  (await links.acquire(identity('ada'))).release();
  clock.advance(59_000);
  (await links.acquire(identity('ada'))).release();
  clock.advance(59_000);
  expect(links.size).toBe(1);
});

test('the least recently used idle link makes room, and if all are in use the caller is refused', async () => {
  const { links, identity, clients } = poolOf({ maxLinks: 2 });
  const ada = await links.acquire(identity('ada'));
  const bea = await links.acquire(identity('bea'));
  expect(await codeOf(links.acquire(identity('eve')))).toBe('QUOTA_EXCEEDED');
  bea.release();
  ada.release();
  (await links.acquire(identity('bea'))).release();
  await links.acquire(identity('eve'));
  await settle();
  expect(clients.map(({ state }) => state)).toEqual(['closed', 'attached', 'attached']);
});

test('a link whose credential has ended is not used again, and closes', async () => {
  const { links, identity, clients, ended } = poolOf();
  await links.acquire(identity('ada'));
  ended.add('ada');
  const renewed = identity('ada');
  await links.acquire({ ...renewed, hasEnded: () => false });
  await settle();
  expect(clients.map(({ state }) => state)).toEqual(['closed', 'attached']);
});

test('a refused credential closes its link', async () => {
  const { links, identity, clients, refused } = poolOf();
  await links.acquire(identity('ada'));
  refused.get('ada')!();
  await settle();
  expect([links.size, clients[0]!.state]).toEqual([0, 'closed']);
});

test('a credential that is valid for longer gets its own link, and the old one serves its requests to their end', async () => {
  const { links, identity, clients } = poolOf();
  const old = await links.acquire(identity('ada', 1_000));
  const same = await links.acquire(identity('ada', 1_000));
  const renewed = await links.acquire(identity('ada', 2_000));
  expect([same.client, renewed.client].map((client) => client === old.client)).toEqual([true, false]);
  old.release();
  expect(clients[0]!.state).toBe('attached');
  same.release();
  await settle();
  expect(clients.map(({ state }) => state)).toEqual(['closed', 'attached']);
});

test('a failed attach is reported to each of its requests, and the next one tries again', async () => {
  const { links, identity } = poolOf();
  const failing: Identity = {
    ...identity('ada'),
    connect: () => Promise.reject(new Error('no sentinel')),
  };
  const both = [links.acquire(failing), links.acquire(failing)];
  for (const one of both) await expect(one).rejects.toThrow('no sentinel');
  expect(links.size).toBe(0);
  await links.acquire(identity('ada'));
});

test('an exceeded quota of the sentinel keeps its code and its pause', async () => {
  const { links, identity } = poolOf();
  const details = { code: 'QUOTA_EXCEEDED', retryAfterMs: 700 };
  const refusedBy = new FabricError('LINK_REFUSED', 'too many attaches', { details });
  const failing: Identity = { ...identity('ada'), connect: () => Promise.reject(refusedBy) };
  await expect(links.acquire(failing)).rejects.toMatchObject({
    code: 'QUOTA_EXCEEDED',
    details: { retryAfterMs: 700 },
  });
});

test('attaches at the same time are bounded', async () => {
  const { links, identity } = poolOf({ maxLinks: 1_000 });
  const pending = Promise.withResolvers<never>();
  const waiting = Array.from({ length: 64 }, (_, i) =>
    links.acquire({ ...identity(`p${i}`), connect: () => pending.promise }),
  );
  expect(await codeOf(links.acquire(identity('ada')))).toBe('QUOTA_EXCEEDED');
  pending.reject(new Error('refused'));
  await Promise.allSettled(waiting);
  await settle();
  await links.acquire(identity('ada'));
});

test('closing the pool closes all links', async () => {
  const { links, identity, clients } = poolOf();
  await links.acquire(identity('ada'));
  (await links.acquire(identity('bea'))).release();
  await links.close();
  expect(clients.map(({ state }) => state)).toEqual(['closed', 'closed']);
  expect(await codeOf(links.acquire(identity('ada')))).toBe('LINK_CLOSED');
});
