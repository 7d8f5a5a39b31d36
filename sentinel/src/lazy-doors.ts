// Passes requests to the doors, which load with the first request that they claim: a sentinel starts without them.
import type { ServerResponse } from 'node:http';
import type { Doors, HttpDoors, OriginOptions } from '@fame-fabric/shared/router';
import { isLoopback } from '@fame-fabric/shared/router';
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
    const { doors, http } = this.#deps;
    const { url = '' } = request;
    const query = url.indexOf('?');
    if (!doors.claims(query < 0 ? url : url.slice(0, query))) {
      http(server, request, response);
      return;
    }
    if (this.#isClosed) {
      unavailable(response);
      return;
    }
    this.#opening ??= this.#open();
    this.#opening.then(
      (open) => (this.#isClosed ? unavailable(response) : open.doors.handle(request, response)),
      (error: unknown) => {
        this.#opening = undefined;
        this.#deps.log.error('cannot load the doors', { error });
        unavailable(response);
      },
    );
  };

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
