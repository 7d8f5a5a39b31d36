// The router in memory: real links, without a port.
import { Link, type LinkOptions, type Service } from '@fame-fabric/shared';
import { afterEach, expect, test, vi } from 'vitest';
import { type MemorySentinel, startMemorySentinel } from './memory-sentinel.ts';

const ECHO: Service = {
  async onCall(call) {
    if (call.method === 'caller') call.reply((await call.caller)?.principal);
    else if (call.method === 'count') {
      for (let n = 1; n <= (call.params as { to: number }).to; n++)
        await call.push({ n, pad: 'x'.repeat(1_000) });
      call.end();
    } else call.reply(call.params);
  },
};

const links: Link[] = [];
const sentinels: MemorySentinel[] = [];
afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.close()));
  for (const sentinel of sentinels.splice(0)) sentinel.close();
});

function fabric() {
  const sentinel = startMemorySentinel();
  sentinels.push(sentinel);
  const attach = async (options: Partial<LinkOptions> = {}): Promise<Link> => {
    const link = new Link({ url: 'memory://test', dial: sentinel.dial, ...options });
    links.push(link);
    await link.connect();
    return link;
  };
  return { sentinel, attach };
}

test('routes calls by address, by capability and to pools, and states the caller', async () => {
  const { attach } = fabric();
  const [agent, client] = [await attach(), await attach()];
  await agent.bind('echo@fame.fabric', ECHO, { capabilities: ['test.echo'] });
  await agent.bind('pool@*.fame.fabric', ECHO);
  expect(await client.call('echo@fame.fabric', 'echo', { a: 1 })).toEqual({ a: 1 });
  expect(await client.call({ capabilities: ['test.echo'] }, 'echo', { a: 2 })).toEqual({ a: 2 });
  expect(await client.call('pool@any.fame.fabric', 'echo', { a: 3 })).toEqual({ a: 3 });
  expect(await client.call('echo@fame.fabric', 'caller')).toBe('local');
  await expect(client.call('none@fame.fabric', 'echo')).rejects.toMatchObject({ code: 'NO_ROUTE' });
});

test('streams 20,000 items of 1 KB in order, and large answers to many callers at once', async () => {
  const { attach } = fabric();
  const [agent, client] = [await attach(), await attach()];
  await agent.bind('echo@fame.fabric', ECHO);
  let last = 0;
  for await (const item of client.stream('echo@fame.fabric', 'count', { to: 20_000 })) {
    expect((item as { n: number }).n).toBe(++last);
  }
  expect(last).toBe(20_000);
  const text = 'y'.repeat(200_000);
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => client.call('echo@fame.fabric', 'echo', { text })),
  );
  expect(answers).toHaveLength(200);
});

test('a close ends the connections, and further links are refused', async () => {
  const { attach, sentinel } = fabric();
  const link = await attach({ backoffMinMs: 60_000, backoffMaxMs: 60_000 });
  sentinel.close();
  await vi.waitFor(() => expect(link.state).toBe('reconnecting'));
  await expect(attach({ connectTimeoutMs: 50 })).rejects.toMatchObject({ code: 'LINK_REFUSED' });
});
