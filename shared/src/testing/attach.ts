// Links attached to a scripted sentinel, closed after each test.
import { afterEach } from 'vitest';
import { Link } from '../link/link.ts';
import type { IncomingCall, LinkOptions, Service } from '../link/link-types.ts';
import type { ScriptedSentinel } from './scripted-sentinel.ts';

const links: Link[] = [];
afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.close()));
});

/** Creates a link that is not connected yet. */
export function newLink(sentinel: ScriptedSentinel, options: Partial<LinkOptions> = {}): Link {
  const link = new Link({ url: 'memory://sentinel/downstream', dial: sentinel.dial, ...options });
  links.push(link);
  return link;
}

/** Creates an attached link. */
export async function attach(sentinel: ScriptedSentinel, options: Partial<LinkOptions> = {}): Promise<Link> {
  const link = newLink(sentinel, options);
  await link.connect();
  return link;
}

export const serve = (onCall: (call: IncomingCall) => void): Service => ({ onCall });

/** Returns the error that a promise rejects with. */
export const errorOf = (promise: Promise<unknown>): Promise<Error & { code?: string }> =>
  promise.then(
    () => {
      throw new Error('the promise did not reject');
    },
    (error) => error,
  );

/** Reads all items of a stream. */
export async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of items) all.push(item);
  return all;
}
