// A wire without a network: keeps what was sent, lets a test say how full it is and whether it answers pings.
import type { Envelope } from '@fame-fabric/shared';
import type { Wire } from '../session/wire.ts';

export class FakeWire implements Wire {
  readonly sent: Uint8Array[] = [];
  readonly remote = 'test';
  bufferedBytes = 0;
  isAlive = true;
  closed: { code: number; reason: string } | undefined;
  terminated = false;
  pings = 0;

  send(bytes: Uint8Array): void {
    this.sent.push(bytes);
  }
  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }
  terminate(): void {
    this.terminated = true;
  }
  ping(): Promise<boolean> {
    this.pings++;
    return Promise.resolve(this.isAlive);
  }

  /** Takes all that was sent, as envelopes. */
  take(): Envelope[] {
    return this.sent.splice(0).map((bytes) => JSON.parse(Buffer.from(bytes).toString('utf8')) as Envelope);
  }
}
