// A transport without a network: records what was sent. A test sets its fill level and whether it answers pings.
import type { Envelope } from '@fame-fabric/shared';
import type { NodeTransport } from '../session/node-transport.ts';

export class FakeTransport implements NodeTransport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  onPing: ((size: number) => boolean) | undefined;
  onPong: ((size: number) => void) | undefined;
  readonly sent: Uint8Array[] = [];
  readonly remote = 'test';
  bufferedBytes = 0;
  isAlive = true;
  closed: { code: number; reason: string } | undefined;
  terminated = false;
  isPaused = false;
  isSliced = false;
  pings = 0;

  send(bytes: Uint8Array): boolean {
    this.sent.push(Buffer.from(bytes));
    return true;
  }
  close(code = 1000, reason = ''): void {
    this.closed ??= { code, reason };
  }
  terminate(): void {
    this.terminated = true;
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  readInSlices(): void {
    this.isSliced = true;
  }
  ping(): Promise<boolean> {
    this.pings++;
    return Promise.resolve(this.isAlive);
  }

  /** Delivers one message of the node. */
  receive(message: unknown): void {
    this.onMessage?.(Buffer.from(JSON.stringify(message)));
  }

  /** Takes the oldest message sent, as an envelope. */
  takeFirst(): Envelope {
    return envelopeOf(this.sent.shift()!);
  }

  /** Takes everything sent so far, as envelopes. */
  take(): Envelope[] {
    return this.sent.splice(0).map(envelopeOf);
  }
}

const envelopeOf = (bytes: Uint8Array): Envelope =>
  JSON.parse(Buffer.from(bytes).toString('utf8')) as Envelope;
