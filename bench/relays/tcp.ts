// A TCP relay that reads nothing: every chunk that passes through a second process costs at least this much in Node.
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server } from 'node:net';
import { answerCommands } from '../child.ts';

// A socket error means that the other end was stopped after the measurement.
const ignore = (): void => {};

/** A server that forwards each connection to `port` on the loopback interface. */
export const relayTo = (port: number): Server =>
  createServer({ noDelay: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', noDelay: true });
    near.on('data', (chunk) => far.write(chunk)).on('error', ignore);
    far.on('data', (chunk) => near.write(chunk)).on('error', ignore);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });

if (import.meta.main) {
  const server = relayTo(Number(process.argv[2]));
  const listening = new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  answerCommands<'port'>(async () => {
    await listening;
    return (server.address() as AddressInfo).port;
  });
}
