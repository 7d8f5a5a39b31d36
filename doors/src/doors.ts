// The wiring of the doors: one fabric for all doors, and one web server for each, which loads with its first request. So the large library
// of one door does not delay the others.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock, Logger } from '@fame-fabric/shared';
import {
  type DoorHost,
  type HttpDoors,
  type RequestOriginOptions,
  refuseOn,
} from '@fame-fabric/shared/router';
import { type DoorName, doorOfPath } from './config.ts';
import type { Door, DoorOptions } from './door.ts';
import { type DoorApp, makeDoorApp } from './door-app.ts';
import type { DoorFabric } from './fabric/door-fabric.ts';
import { EmbeddedSource } from './fabric/embedded-source.ts';
import { LinkFabric } from './fabric/link-fabric.ts';

const LOADERS: Readonly<Record<DoorName, () => Promise<Door>>> = {
  openai: async () => (await import('./openai/openai-door.ts')).openAiDoor,
  a2a: async () => (await import('./a2a/a2a-door.ts')).a2aDoor,
  mcp: async () => (await import('./mcp/mcp-door.ts')).mcpDoor,
  console: async () => (await import('./console/console-door.ts')).consoleDoor,
  http: async () => (await import('./http/http-door.ts')).httpDoor,
};

export const DEFAULT_DOOR_OPTIONS: DoorOptions = Object.freeze({
  bodyBytes: 1_048_576,
  heartbeatMs: 15_000,
  idleMs: 60_000,
  maxLinks: 1_024,
  chatAddress: 'chat@fame.fabric',
});

export interface DoorsDeps {
  fabric: DoorFabric;
  origins: RequestOriginOptions;
  clock: Clock;
  log: Logger;
}

/** The doors of one port. */
export class RunningDoors implements HttpDoors {
  readonly #deps: DoorsDeps;
  readonly #names: readonly DoorName[];
  readonly #options: DoorOptions;
  readonly #apps = new Map<DoorName, Promise<DoorApp>>();

  constructor(deps: DoorsDeps, names: readonly DoorName[], options: Partial<DoorOptions> = {}) {
    this.#deps = deps;
    this.#names = names;
    this.#options = { ...DEFAULT_DOOR_OPTIONS, ...options };
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#withApp(
      request,
      (app) => app.handle(request, response),
      (status) => response.writeHead(status).end(),
    );
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#withApp(
      request,
      (app) => app.upgrade(request, socket, head),
      (status) => refuseOn(socket, status, 'NO_ROUTE', 'No WebSocket is served here'),
    );
  }

  #withApp(
    { url = '' }: IncomingMessage,
    use: (app: DoorApp) => void,
    refuse: (status: number) => void,
  ): void {
    const query = url.indexOf('?');
    const name = doorOfPath(query < 0 ? url : url.slice(0, query), this.#names);
    if (name === undefined) {
      refuse(404);
      return;
    }
    this.app(name).then(use, (error: unknown) => {
      this.#apps.delete(name);
      this.#deps.log.error('cannot load a door', { door: name, error });
      refuse(500);
    });
  }

  /** Loads a door. @throws the errors of its module */
  app(name: DoorName): Promise<DoorApp> {
    let app = this.#apps.get(name);
    if (app === undefined) {
      app = this.#load(name);
      this.#apps.set(name, app);
    }
    return app;
  }

  async #load(name: DoorName): Promise<DoorApp> {
    const { fabric, origins, clock, log } = this.#deps;
    const door = await LOADERS[name]();
    const deps = { fabric, options: this.#options, clock, log };
    const plugin = door.plugin(deps);
    return makeDoorApp({ door, plugin, sockets: door.sockets?.(deps), origins, log }, this.#options);
  }

  async close(): Promise<void> {
    await this.#deps.fabric.close();
    const apps = await Promise.allSettled(this.#apps.values());
    await Promise.all(apps.map((app) => (app.status === 'fulfilled' ? app.value.close() : undefined)));
  }
}

/** Opens the doors in the process of a sentinel. */
export function openDoors(
  host: DoorHost,
  names: readonly DoorName[],
  options: Partial<DoorOptions> = {},
): RunningDoors {
  const { clock, log, origins } = host;
  const fabric = new LinkFabric(
    { source: new EmbeddedSource(host), clock, log },
    { ...DEFAULT_DOOR_OPTIONS, ...options },
  );
  return new RunningDoors({ fabric, origins, clock, log }, names, options);
}
