import { describe, expect, it } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { errorOf } from '../testing/attach.ts';
import { settle } from '../testing/manual-clock.ts';
import { loopTransport, memoryDial, memoryPair } from './memory-transport.ts';
import { transportConformance } from './transport.conformance.ts';
import type { Transport } from './transport.ts';

transportConformance('memoryPair', async () => {
  const [near, far] = memoryPair();
  return { near, far };
}, [1000, 1001, 4008]);

describe('memoryPair', () => {
  it('closes with 1013 when more than 16 MiB are in flight', async () => {
    const [near, far] = memoryPair();
    let code = 0;
    far.onClose = (closeCode) => {
      code = closeCode;
    };
    const megabyte = new Uint8Array(1_048_576);
    for (let n = 0; n < 16; n++) expect(near.send(megabyte)).toBe(true);
    expect(near.send(megabyte)).toBe(false);
    await settle();
    expect(code).toBe(1013);
  });

  it('drops the messages in flight when it is terminated', async () => {
    const [near, far] = memoryPair();
    let received = 0;
    far.onMessage = () => received++;
    near.send(new Uint8Array(1));
    near.terminate();
    await settle();
    expect(received).toBe(0);
  });
});

describe('loopTransport', () => {
  it('receives its own messages, asynchronously and in order', async () => {
    const loop = loopTransport();
    const received: number[] = [];
    loop.onMessage = (bytes) => {
      received.push(bytes[0]!);
      if (bytes[0] === 1) loop.send(new Uint8Array([3]));
    };
    loop.send(new Uint8Array([1]));
    loop.send(new Uint8Array([2]));
    let drains = 0;
    loop.onDrain = () => drains++;
    expect(received).toEqual([]);
    await settle();
    expect(received).toEqual([1, 2, 3]);
    expect([drains, loop.bufferedBytes]).toEqual([1, 0]);
    let closed = 0;
    loop.onClose = () => closed++;
    loop.close();
    await settle();
    expect(closed).toBe(1);
  });
});

describe('memoryDial', () => {
  it('passes on the far end, the URL and the token', async () => {
    const accepted: [Transport, string, string | undefined][] = [];
    const dial = memoryDial((...all) => accepted.push(all));
    const near = await dial('memory://x', { timeoutMs: 1, token: 't' });
    expect(accepted).toEqual([[expect.anything(), 'memory://x', 't']]);
    expect(near).not.toBe(accepted[0]![0]);
  });

  it('rejects with the error of the other side, and when it is aborted', async () => {
    const refusal = new FabricError('LINK_REFUSED', 'no');
    const dial = memoryDial(() => {
      throw refusal;
    });
    expect(await errorOf(dial('memory://x', { timeoutMs: 1 }))).toBe(refusal);
    const aborted = dial('memory://x', { timeoutMs: 1, signal: AbortSignal.abort() });
    expect(await errorOf(aborted)).toMatchObject({ code: 'LINK_CLOSED' });
  });
});
