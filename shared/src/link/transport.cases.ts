// What every transport must do; each implementation runs these cases against a pair of its own ends.
import { describe, expect, it, vi } from 'vitest';
import type { Transport } from './transport.ts';

export interface Ends {
  near: Transport;
  far: Transport;
}

/** @param open connects two ends; @param codes close codes that this transport can say */
export function transportCases(name: string, open: () => Promise<Ends>, codes: number[]): void {
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
  const listen = (transport: Transport) => {
    const heard: string[] = [];
    const closed: [number, string][] = [];
    transport.onMessage = (bytes) => heard.push(new TextDecoder().decode(bytes));
    transport.onClose = (code, reason) => closed.push([code, reason]);
    return { heard, closed };
  };

  describe(name, () => {
    it('delivers messages in order, in both directions, after the sender has gone on', async () => {
      const { near, far } = await open();
      const [atNear, atFar] = [listen(near), listen(far)];
      for (let n = 0; n < 100; n++) {
        expect(near.send(bytesOf(`to far ${n}`))).toBe(true);
        expect(far.send(bytesOf(`to near ${n}`))).toBe(true);
      }
      expect(atFar.heard).toEqual([]);
      await vi.waitFor(() => expect(atFar.heard).toHaveLength(100));
      await vi.waitFor(() => expect(atNear.heard).toHaveLength(100));
      expect(atFar.heard).toEqual(Array.from({ length: 100 }, (_, n) => `to far ${n}`));
      expect(atNear.heard).toEqual(Array.from({ length: 100 }, (_, n) => `to near ${n}`));
      near.close();
    });

    it('keeps the borders of messages, empty and large ones', async () => {
      const { near, far } = await open();
      const { heard } = listen(far);
      const messages = ['', 'é€😀', 'x'.repeat(262_144), ''];
      for (const message of messages) near.send(bytesOf(message));
      await vi.waitFor(() => expect(heard).toHaveLength(4));
      expect(heard).toEqual(messages);
      near.close();
    });

    it.each(codes)('closes with %i, once, for both ends, after what was sent before', async (code) => {
      const { near, far } = await open();
      const [atNear, atFar] = [listen(near), listen(far)];
      near.send(bytesOf('last words'));
      near.close(code, 'because');
      near.close(code, 'again');
      expect(near.send(bytesOf('too late'))).toBe(false);
      await vi.waitFor(() => expect(atFar.closed).toEqual([[code, 'because']]));
      await vi.waitFor(() => expect(atNear.closed).toHaveLength(1));
      expect(atFar.heard).toEqual(['last words']);
      expect(far.send(bytesOf('too late'))).toBe(false);
      near.terminate();
      expect(atNear.closed).toHaveLength(1);
    });

    it('terminates: both ends hear that it is over', async () => {
      const { near, far } = await open();
      const [atNear, atFar] = [listen(near), listen(far)];
      near.terminate();
      await vi.waitFor(() => expect(atNear.closed).toHaveLength(1));
      await vi.waitFor(() => expect(atFar.closed).toHaveLength(1));
      expect(near.send(bytesOf('x'))).toBe(false);
    });

    it('says how much has not left yet', async () => {
      const { near, far } = await open();
      const { heard } = listen(far);
      expect(near.bufferedBytes).toBe(0);
      near.send(bytesOf('x'.repeat(1_000)));
      expect(near.bufferedBytes).toBeGreaterThanOrEqual(1_000);
      await vi.waitFor(() => expect(heard).toHaveLength(1));
      await vi.waitFor(() => expect(near.bufferedBytes).toBe(0));
      near.close();
    });
  });
}
