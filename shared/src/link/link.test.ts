// The link as its users see it: attach, bind, call, stream, serve, over a scripted sentinel in memory.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import { Link } from './link.ts';
import type { IncomingCall, LinkOptions, Service } from './link-types.ts';

const links: Link[] = [];
afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.close()));
});

async function attach(sentinel: ScriptedSentinel, options: Partial<LinkOptions> = {}): Promise<Link> {
  const link = new Link({ url: 'memory://sentinel/downstream', dial: sentinel.dial, ...options });
  links.push(link);
  await link.connect();
  return link;
}

const serve = (onCall: (call: IncomingCall) => void): Service => ({ onCall });

describe('a link that attaches', () => {
  it('takes the path that the sentinel assigns', async () => {
    const sentinel = new ScriptedSentinel();
    const link = await attach(sentinel, { systemId: 'node-1' });
    expect(link.state).toBe('attached');
    expect(link.path).toBe('/S/node-1');
    expect(sentinel.node.url).toBe('memory://sentinel/downstream/node-1');
  });
});

describe('a call', () => {
  it('returns what the service replies', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel);
    const client = await attach(sentinel);
    await agent.bind(
      'math@fame.fabric',
      serve((call) => call.reply({ got: call.params, method: call.method })),
    );
    expect(await client.call('math@fame.fabric', 'add', { x: 1 })).toEqual({ got: { x: 1 }, method: 'add' });
  });

  it('is answered locally when the address is served by the same link', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel);
    await agent.bind(
      'math@fame.fabric',
      serve((call) => call.reply('here')),
    );
    expect(await agent.call('math@fame.fabric', 'where')).toBe('here');
    expect(sentinel.framesOf('Data')).toEqual([]);
  });

  it('rejects with NO_ROUTE when nobody serves the address', async () => {
    const client = await attach(new ScriptedSentinel());
    await expect(client.call('nobody@fame.fabric', 'hi')).rejects.toMatchObject({ code: 'NO_ROUTE' });
  });
});

describe('a stream', () => {
  it('yields the items in order and ends', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel);
    const client = await attach(sentinel);
    await agent.bind(
      'count@fame.fabric',
      serve(async (call) => {
        for (let i = 0; i < 500; i++) await call.push(i);
        call.end();
      }),
    );
    const items: unknown[] = [];
    for await (const item of client.stream('count@fame.fabric', 'up')) items.push(item);
    expect(items).toEqual(Array.from({ length: 500 }, (_, i) => i));
    await vi.waitFor(() => expect(agent.counts.flowsSent).toBe(2));
  });
});
