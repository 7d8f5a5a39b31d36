// The contract of transports. Each implementation runs these cases against two of its connected ends.
import { describe, expect, it, vi } from 'vitest';
import type { Transport } from './transport.ts';

export interface Ends {
  near: Transport;
  far: Transport;
}

/** @param open connects two ends @param codes close codes that this transport can send */
export function transportConformance(name: string, open: () => Promise<Ends>, codes: number[]): void {
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
  const listen = (transport: Transport) => {
    const received: string[] = [];
    const closed: [number, string][] = [];
    transport.onMessage = (bytes) => received.push(new TextDecoder().decode(bytes));
    transport.onClose = (code, reason) => closed.push([code, reason]);
    return { received, closed };
  };

  describe(name, () => {
    it('delivers messages in order, in both directions, asynchronously', async () => {
      const { near, far } = await open();
      const [atNear, atFar] = [listen(near), listen(far)];
      for (let n = 0; n < 100; n++) {
        expect(near.send(bytesOf(`to far ${n}`))).toBe(true);
        expect(far.send(bytesOf(`to near ${n}`))).toBe(true);
      }
      expect(atFar.received).toEqual([]);
      await vi.waitFor(() => expect(atFar.received).toHaveLength(100));
      await vi.waitFor(() => expect(atNear.received).toHaveLength(100));
      expect(atFar.received).toEqual(Array.from({ length: 100 }, (_, n) => `to far ${n}`));
      expect(atNear.received).toEqual(Array.from({ length: 100 }, (_, n) => `to near ${n}`));
      near.close();
    });

    it('preserves message boundaries, also of empty and large messages', async () => {
      const { near, far } = await open();
      const { received } = listen(far);
      const messages = ['', 'é€😀', 'x'.repeat(262_144), ''];
      for (const message of messages) near.send(bytesOf(message));
      await vi.waitFor(() => expect(received).toHaveLength(4));
      expect(received).toEqual(messages);
      near.close();
    });

    it.each(codes)('closes with %i, once for both ends, after the messages in flight', async (code) => {
      const { near, far } = await open();
      const [atNear, atFar] = [listen(near), listen(far)];
      near.send(bytesOf('last words'));
      near.close(code, 'because');
      near.close(code, 'again');
      expect(near.send(bytesOf('too late'))).toBe(false);
      await vi.waitFor(() => expect(atFar.closed).toEqual([[code, 'because']]));
      await vi.waitFor(() => expect(atNear.closed).toHaveLength(1));
      expect(atFar.received).toEqual(['last words']);
      expect(far.send(bytesOf('too late'))).toBe(false);
      near.terminate();
      expect(atNear.closed).toHaveLength(1);
    });

    it('notifies both ends when it is terminated', async () => {
      const { near, far } = await open();
      const [atNear, atFar] = [listen(near), listen(far)];
      near.terminate();
      await vi.waitFor(() => expect(atNear.closed).toHaveLength(1));
      await vi.waitFor(() => expect(atFar.closed).toHaveLength(1));
      expect(near.send(bytesOf('x'))).toBe(false);
    });

    it('reports the bytes that were not written yet', async () => {
      const { near, far } = await open();
      const { received } = listen(far);
      expect(near.bufferedBytes).toBe(0);
      near.send(bytesOf('x'.repeat(1_000)));
      expect(near.bufferedBytes).toBeGreaterThanOrEqual(1_000);
      await vi.waitFor(() => expect(received).toHaveLength(1));
      await vi.waitFor(() => expect(near.bufferedBytes).toBe(0));
      near.close();
    });
  });
}
