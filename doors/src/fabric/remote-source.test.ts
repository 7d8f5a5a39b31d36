// Callers of doors in a separate process: the sentinel verifies their credentials.
import { AgentWorker, defineAgent, operation } from '@fame-fabric/agents';
import { type MemoryDoorHostOptions, startMemoryDoorHost } from '@fame-fabric/sentinel/testing';
import { FabricError, isFabricError, Link, systemClock } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import type { Visitor } from './door-fabric.ts';
import { LinkFabric } from './link-fabric.ts';
import { RemoteAddresses } from './remote-addresses.ts';
import { RemoteSource } from './remote-source.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const who = defineAgent({
  address: 'who@fame.fabric',
  operations: { who: operation({ run: async (_params, { caller }) => (await caller)?.principal }) },
});

async function remoteFabric(options: MemoryDoorHostOptions = {}) {
  const sentinel = startMemoryDoorHost(options);
  const log = new CaptureLog();
  const deps = { url: 'memory://remote', dial: sentinel.tokenDial, clock: systemClock, log };
  const source = new RemoteSource({ ...deps, addresses: async () => sentinel.host.addresses() });
  const fabric = new LinkFabric({ source, clock: systemClock, log }, { maxLinks: 10, idleMs: 60_000 });
  const worker = new AgentWorker([who], {
    link: new Link({ url: 'memory://test', dial: sentinel.dial }),
    log,
  });
  await worker.start();
  closing.push(
    () => sentinel.close(),
    () => worker.drain(0),
    () => fabric.close(),
  );
  const visit = (headers: Record<string, string>): Promise<Visitor> =>
    fabric.visit({ headers } as unknown as Parameters<LinkFabric['visit']>[0]);
  const principalOf = async (headers: Record<string, string>): Promise<unknown> => {
    try {
      using visitor = await visit(headers);
      expect(visitor.principal).toBe(await visitor.client.call('who@fame.fabric', 'who'));
      return visitor.principal;
    } catch (error) {
      return isFabricError(error) ? error.code : error;
    }
  };
  return { sentinel, source, fabric, visit, principalOf };
}
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

test('in open mode, keys of other software are ignored', async () => {
  const { principalOf, fabric, source } = await remoteFabric();
  expect(await principalOf(bearer('sk-first'))).toBe('anonymous');
  expect(await principalOf(bearer('sk-second'))).toBe('anonymous');
  expect(await principalOf({ 'x-api-key': 'third' })).toBe('anonymous');
  expect(await principalOf({})).toBe('anonymous');
  expect(await principalOf(bearer('header.payload.signature'))).toBe('anonymous');
  expect(await principalOf(bearer('fk_ada'))).toBe('ada');
  expect(await principalOf({ 'x-api-key': 'fk_ada' })).toBe('ada');
  expect(await principalOf(bearer('fk_eve'))).toBe('AUTH_INVALID');
  expect(await principalOf({ authorization: 'Basic x' })).toBe('AUTH_INVALID');
  // The first key was tried; later ones share the link without one.
  expect(fabric.linkCount).toBe(4);
  expect(await source.probe(1_000)).toEqual({ isCredentialNeeded: false });
});

test('a sentinel that asks for credentials refuses a caller without a valid one', async () => {
  const { principalOf, source } = await remoteFabric({ isCredentialNeeded: true });
  expect(await source.probe(1_000)).toEqual({ isCredentialNeeded: true });
  expect(await principalOf({})).toBe('AUTH_MISSING');
  expect(await principalOf(bearer('sk-first'))).toBe('AUTH_INVALID');
  expect(await principalOf(bearer('fk_bea'))).toBe('bea');
});

test('the link of a revoked key closes, and the key is refused', async () => {
  const clock = new ManualClock();
  const { principalOf, sentinel, fabric } = await remoteFabric({ isCredentialNeeded: true, clock });
  expect(await principalOf(bearer('fk_ada'))).toBe('ada');
  sentinel.revoke('ada');
  await expect
    .poll(() => {
      clock.advance(1_000);
      return fabric.linkCount;
    })
    .toBe(0);
  expect(await principalOf(bearer('fk_ada'))).toBe('AUTH_INVALID');
});

test('each caller sees its own agents', async () => {
  const { visit } = await remoteFabric();
  using visitor = await visit({});
  expect((await visitor.agents()).map(({ address }) => address)).toEqual(['who@fame.fabric']);
});

test('without the right to the list of nodes, the agents of the configuration are listed', async () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  let requests = 0;
  let mayRead = false;
  const addresses = new RemoteAddresses({
    configured: ['chat@fame.fabric'],
    clock,
    log,
    async list() {
      requests++;
      if (mayRead) return [{ address: 'a@fame.fabric', attach: '1' }];
      throw new FabricError('AUTH_FORBIDDEN', 'no');
    },
  });
  expect((await addresses.read()).map(({ address }) => address)).toEqual(['chat@fame.fabric']);
  await addresses.read();
  expect(requests).toBe(1);
  expect(log.lines).toHaveLength(1);
  mayRead = true;
  clock.advance(30_000);
  expect(await addresses.read()).toEqual([{ address: 'a@fame.fabric', attach: '1' }]);
  await addresses.read();
  expect(requests).toBe(2);
});
