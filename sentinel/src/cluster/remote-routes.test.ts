// The cached routes to addresses of other sentinels, and the changes that those announce.
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { Session } from '../session/session.ts';
import type { OnAnswer } from './inbox.ts';
import { RemoteRoutes } from './remote-routes.ts';
import { Subjects } from './subjects.ts';

/** Routes whose questions the sentinel `B` answers at once. */
function routesTo(session: Session): RemoteRoutes {
  return new RemoteRoutes(
    {
      bus: { isConnected: true } as never,
      clock: new ManualClock(),
      subjects: new Subjects('test'),
      inbox: {
        ask(_subject: string, question: Uint8Array, onAnswer: OnAnswer) {
          const isPool = !Buffer.from(question).toString().startsWith('exact');
          queueMicrotask(() => onAnswer(Buffer.from(JSON.stringify({ id: 'B', path: '/B/n', isPool }))));
          return () => {};
        },
      } as never,
      budget: { queueBound: 1_000_000, countQueued: () => {} } as never,
      sessionOf: (id) => (id === 'B' ? session : undefined),
      routeAgain: () => {},
    },
    { resumeWindowMs: 1_000 },
  );
}

async function fill(routes: RemoteRoutes, from: Session, addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    expect(routes.ask(from, address, Buffer.alloc(8))).toBeUndefined();
    await Promise.resolve();
  }
}

const sessionOf = (systemId: string): Session =>
  ({ systemId, path: `/${systemId}`, state: 'attached', outbound: { bytes: 0 } }) as never;

const CHANGES = { id: 'C', bound: [], unbound: [], closed: [] };

test('an announced pool or capability ends the routes that it may serve, and no other', async () => {
  const [peer, caller] = [sessionOf('B'), sessionOf('caller')];
  const routes = routesTo(peer);
  const known = (address: string): boolean => routes.find(address, caller, 'm') !== undefined;
  const addresses = ['w@x.y', 'w@a.x.y', 'w@y', 'v@x.y', ' one two', ' two'];
  await fill(routes, caller, addresses);
  expect(addresses.map(known)).toEqual(addresses.map(() => true));
  routes.changed({ ...CHANGES, bound: [['w@*.x.y', null]] });
  expect(addresses.filter(known)).toEqual(['w@y', 'v@x.y', ' one two', ' two']);
  routes.changed({ ...CHANGES, bound: [[' one', null]] });
  expect(addresses.filter(known)).toEqual(['w@y', 'v@x.y', ' two']);
  routes.changed({ ...CHANGES, id: 'B', unbound: [' two', 'w@*.y', 'v@x.y'] });
  expect(addresses.filter(known)).toEqual([]);
});

test('many announced pools take little time with many routes', async () => {
  const [peer, caller] = [sessionOf('B'), sessionOf('caller')];
  const routes = routesTo(peer);
  await fill(
    routes,
    caller,
    Array.from({ length: 30_000 }, (_, n) => `w@n${n}.x.y`),
  );
  let runs = 0;
  /** The shortest of five runs: another process may disturb some. */
  const timeOf = (pools: number): number => {
    const times = Array.from({ length: 5 }, () => {
      const run = runs++;
      const bound = Array.from({ length: pools }, (_, n) => [`w@*.m${n}.r${run}.z`, null] as const);
      const startedAt = performance.now();
      routes.changed({ ...CHANGES, bound });
      return performance.now() - startedAt;
    });
    return Math.min(...times);
  };
  timeOf(1);
  // A ratio does not depend on the load of the machine.
  const one = timeOf(1);
  expect(timeOf(1_024)).toBeLessThan(20 * one);
  expect(routes.size).toBe(30_000);
});
