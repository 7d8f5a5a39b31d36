// An HTTP proxy that loses responses: it waits for the whole response and then cuts the connection of the client.
import { createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface LosingProxy extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** Status of each response of the target, lost ones included. */
  readonly statuses: readonly number[];
  /** The headers of each request. */
  readonly requests: readonly IncomingMessage['headers'][];
}

/** Starts a proxy to `target` that loses the first `lost` responses. */
export async function losingProxy(target: string, lost: number): Promise<LosingProxy> {
  const statuses: number[] = [];
  const requests: IncomingMessage['headers'][] = [];
  const forward = (request: IncomingMessage, response: ServerResponse): void => {
    const isLost = requests.push(request.headers) <= lost;
    const { method, headers, url = '/' } = request;
    const passed = send(new URL(url, target), { method, headers, agent: false }, (answer) => {
      statuses.push(answer.statusCode!);
      if (isLost) {
        answer.resume().on('end', () => request.socket.destroy());
        return;
      }
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    passed.on('error', () => request.socket.destroy());
    request.pipe(passed);
  };
  const server = createServer(forward);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    statuses,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
