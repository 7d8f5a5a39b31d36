// The interface of a door: the routes of one protocol, and its form of an error.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock, FabricError, Logger } from '@fame-fabric/shared';
import type { DoorName } from './config.ts';
import type { DoorFabric } from './fabric/door-fabric.ts';
import type { FastifyPluginAsync } from './fastify.ts';

/** Settings that all doors share. */
export interface DoorOptions {
  /** Largest body of a request, in bytes. @default 1_048_576 */
  readonly bodyBytes: number;
  /** Interval of the comments in a silent stream, in ms. @default 15_000 */
  readonly heartbeatMs: number;
  /** Time without a request after which the link of a principal is closed, in ms. @default 60_000 */
  readonly idleMs: number;
  /** Maximum number of links. @default 1_024 */
  readonly maxLinks: number;
  /** Address of the agent that a door calls if a client names none. @default chat@fame.fabric */
  readonly chatAddress: string;
  /** URL at which clients reach the port, without a slash at its end, such as `https://fame.example.org`. @default the Host of each request */
  readonly publicUrl?: string | undefined;
}

export interface DoorDeps {
  readonly fabric: DoorFabric;
  readonly options: DoorOptions;
  readonly clock: Clock;
  readonly log: Logger;
}

/** An error in the form of a protocol. */
export interface Refusal {
  /** @default the given status */
  readonly status?: number | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body: unknown;
}

/** Serves the WebSockets of a door. */
export interface SocketHandler {
  /** Accepts or refuses an upgrade whose Origin and Host were checked. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes all sockets. */
  close(): void;
}

/** The routes of one protocol. `config.ts` lists their paths. */
export interface Door {
  readonly name: DoorName;
  /** Creates the plugin that registers the routes. */
  plugin(deps: DoorDeps): FastifyPluginAsync;
  /** Creates the handler of WebSockets. @default the door has no WebSockets */
  sockets?(deps: DoorDeps): SocketHandler;
  /**
   * Writes an error in the form of the protocol: an error that a route throws, or an earlier one, such as an unknown path, a body that
   * is too large, or a refused Origin.
   */
  refusal(error: FabricError, status: number): Refusal;
}
