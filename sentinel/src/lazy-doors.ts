// Passes requests to the doors. The doors load with the first request that they claim, so that a sentinel starts without them.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Doors, HttpDoors, OriginOptions } from '@fame-fabric/shared/router';
import { isLoopback, refuseOn } from '@fame-fabric/shared/router';
import type { RequestHandler } from './door/listener.ts';
import type { DoorHostDeps, SentinelDoorHost } from './door-host.ts';

export interface LazyDoorsDeps extends DoorHostDeps {
  doors: Doors;
  /** Answers all other requests. */
  http: RequestHandler;
  /** Set if envelopes are signed. */
  overlay: object | undefined;
}

interface OpenDoors {
  readonly host: SentinelDoorHost;
  readonly doors: HttpDoors;
}

export class LazyDoors {
  readonly #deps: LazyDoorsDeps;
  readonly #options: OriginOptions & { readonly host: string };
  #opening: Promise<OpenDoors> | undefined;
  #isClosed = false;

  constructor(deps: LazyDoorsDeps, options: OriginOptions & { readonly host: string }) {
    this.#deps = deps;
    this.#options = options;
  }

  readonly onRequest: RequestHandler = (server, request, response) => {
    if (!this.#claims(request)) {
      this.#deps.http(server, request, response);
      return;
    }
    this.#whenOpen(
      (doors) => doors.handle(request, response),
      () => unavailable(response),
    );
  };

  /** Passes an upgrade to the doors. Returns false if none of them claims its path. */
  readonly onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): boolean => {
    if (!this.#claims(request)) return false;
    socket.on('error', () => {}); // a client that leaves while the doors load
    this.#whenOpen(
      (doors) => doors.upgrade(request, socket, head),
      () => refuseOn(socket, 503, 'LINK_DRAINING', 'The sentinel is closing'),
    );
    return true;
  };

  #claims({ url = '' }: IncomingMessage): boolean {
    const query = url.indexOf('?');
    return this.#deps.doors.claims(query < 0 ? url : url.slice(0, query));
  }

  #whenOpen(use: (doors: HttpDoors) => void, refuse: () => void): void {
    if (this.#isClosed) {
      refuse();
      return;
    }
    this.#opening ??= this.#open();
    this.#opening.then(
      (open) => (this.#isClosed ? refuse() : use(open.doors)),
      (error: unknown) => {
        this.#opening = undefined;
        this.#deps.log.error('cannot load the doors', { error });
        refuse();
      },
    );
  }

  async #open(): Promise<OpenDoors> {
    const { access, doors, overlay } = this.#deps;
    const { makeDoorHost } = await import('./door-host.ts');
    const origins = {
      ...this.#options,
      isOpen: !isLoopback(this.#options.host),
      isCredentialNeeded: access.isCredentialNeeded,
    };
    const host = makeDoorHost(this.#deps, { origins, isSigned: overlay !== undefined });
    return { host, doors: await doors.open(host) };
  }

  /** Ends open responses and closes the links. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const open = await this.#opening?.catch(() => undefined);
    await open?.doors.close();
    open?.host.close();
  }
}

function unavailable(response: ServerResponse): void {
  response.writeHead(503, { 'retry-after': '1' }).end();
}
