// An npm registry in memory, for tests of publishing: it stores and serves the packages that `npm publish` sends. It can redirect npm
// to the public registry for all other packages.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

interface Document {
  name: string;
  versions: Record<string, unknown>;
  /** Tarballs in base64, by file name. */
  _attachments: Record<string, { data: string }>;
}

export class Registry {
  /** Names of the published packages, in order. */
  readonly published: string[] = [];
  /** URL of a registry that has the other packages. @default npm does not find them */
  upstream: string | undefined;
  readonly #documents = new Map<string, Document>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
    });
  }

  static async start(): Promise<Registry> {
    const registry = new Registry();
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent((request.url ?? '').slice(1).split('?')[0]!);
    if (request.method === 'PUT') {
      const document = (await json(request)) as Document;
      this.published.push(document.name);
      this.#documents.set(path, document);
    }
    const [name = '', file] = path.split('/-/');
    const document = this.#documents.get(name);
    if (!document && this.upstream) {
      response.writeHead(302, { location: `${this.upstream}${request.url}` }).end();
    } else if (document && file) {
      response.end(Buffer.from(document._attachments[file]!.data, 'base64'));
    } else {
      response.writeHead(document ? 200 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify(document ?? { error: 'Not found' }));
    }
  }
}
