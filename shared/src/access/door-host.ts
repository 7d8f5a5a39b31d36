// The interfaces between a sentinel and the doors in its process. A door lets clients of another protocol call agents over HTTP. The
// sentinel and the doors do not import each other.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Clock } from '../async/clock.ts';
import type { Dial } from '../link/transport.ts';
import type { Logger } from '../log.ts';
import type { RequestOriginOptions } from './origin.ts';
import type { Principal } from './principal.ts';

/** The principal of a request, as the sentinel admitted it. */
export interface DoorGrant {
  readonly principal: Principal;
  /** Wall time in ms since the epoch at which its credential expires. @default it does not expire */
  readonly expiresAt?: number | undefined;
}

/** An address that a node currently serves. */
export interface ServedAddress {
  readonly address: string;
  /** Changes with each attach of the node. */
  readonly attach: string;
}

/** Services of a sentinel for the doors in its process. */
export interface DoorHost {
  /** Verifies the credential of a request. @throws {AUTH_MISSING | AUTH_INVALID | AUTH_EXPIRED | AUTH_FORBIDDEN | AUTH_UNAVAILABLE} */
  authenticate(request: Pick<IncomingMessage, 'method' | 'headers' | 'socket'>): Promise<DoorGrant>;
  /** True if the credential expired or was revoked. */
  hasEnded(grant: DoorGrant): boolean;
  /**
   * Returns the dial function of links that attach as the principal of `grant`, without a socket. Permissions and quotas apply as for any
   * node. It throws LINK_REFUSED with the code in `details`, or the code of the credential after that has ended.
   */
  dial(grant: DoorGrant): Dial;
  /** The addresses that nodes serve now, also those at other sentinels of the cluster. */
  addresses(): Promise<Iterable<ServedAddress>>;
  readonly origins: RequestOriginOptions;
  /** True if nodes must sign their messages. */
  readonly isSigned: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The doors of a running sentinel. */
export interface HttpDoors {
  /** Answers a request whose path `claims` accepted. */
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** Answers an upgrade to a WebSocket whose path `claims` accepted. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Ends open responses and closes the links. */
  close(): Promise<void>;
}

/** The doors that a sentinel serves on its port. */
export interface Doors {
  /** Describes them in one line for the operator, such as `OpenAI at /v1, MCP at /mcp`. @default no line */
  readonly text?: string | undefined;
  /** Names of the doors, such as `openai`. @default none */
  readonly names?: readonly string[] | undefined;
  /** Address of the agent that a door calls if a client names none. @default none */
  readonly chatAddress?: string | undefined;
  /** URL at which clients reach the port, without a slash at its end. @default the Host of each request */
  readonly publicUrl?: string | undefined;
  /** True if a door answers requests to this path, which has no query. */
  claims(path: string): boolean;
  /** Loads the doors. Called with the first request that they claim. */
  open(host: DoorHost): Promise<HttpDoors>;
}
