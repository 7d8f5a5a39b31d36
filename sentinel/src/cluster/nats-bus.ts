// The bus over NATS. It is loaded only with FAME_CLUSTER_NATS. The first connection is retried here, and later ones by the client.
// Messages without a connection are dropped, because the links between sentinels detect losses in any case.

import type { Clock, Logger } from '@fame-fabric/shared';
import { cutText, errorMessage } from '@fame-fabric/shared/internal';
import { LIMITS } from '@fame-fabric/shared/router';
import {
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type Msg,
  type NatsConnection,
  type Subscription,
} from '@nats-io/transport-node';
import type { Bus, BusMessage, BusSubscription } from './bus.ts';

/** Pause between attempts to connect, and time limit of one, in ms. */
const RETRY_MS = 500;
const DIAL_TIMEOUT_MS = 2_000;
/** A connection that does not answer two pings is replaced. Links are down after 3 s of silence in any case. */
const PING_MS = 2_000;
const MAX_PINGS = 2;
const MAX_REASON_CHARS = 300;
/** Status that NATS sends in place of an answer if there are no subscribers. */
const NO_RESPONDERS = 503;
/** Maximum overhead of a frame between sentinels, in bytes. */
const FRAME_OVERHEAD = 64;

export interface NatsBusOptions {
  /** `nats://host:port` or `tls://host:port`, with `user:password@` or `token@` if the servers need them. */
  readonly urls: readonly string[];
  /** Content of a credentials file. @default none */
  readonly credentials?: Uint8Array | undefined;
  /** Name of the connection, for the operator of NATS. */
  readonly name: string;
}

export interface NatsBusDeps {
  clock: Clock;
  log: Logger;
}

interface Subscribed {
  readonly subject: string;
  readonly onMessage: (message: BusMessage) => void;
  subscription: Subscription | undefined;
}

export class NatsBus implements Bus {
  onChange: (() => void) | undefined;
  readonly #deps: NatsBusDeps;
  readonly #options: ConnectionOptions;
  readonly #subscribed = new Set<Subscribed>();
  #connection: NatsConnection | undefined;
  #isConnected = false;
  #reason: string | undefined = 'not connected yet';
  #isClosed = false;
  readonly #firstConnect = Promise.withResolvers<void>();

  constructor(deps: NatsBusDeps, options: NatsBusOptions) {
    this.#deps = deps;
    this.#options = connectionOptions(options);
    void this.#connect();
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  /** The connection, for other protocols of NATS. Undefined before the first connect. */
  get connection(): NatsConnection | undefined {
    return this.#connection;
  }

  /** Resolves once the bus was connected for the first time, or after `timeoutMs`. Returns true if it is connected. */
  async whenConnected(timeoutMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#deps.clock.after(timeoutMs, resolve, { keepAlive: true });
    await Promise.race([this.#firstConnect.promise, promise]);
    timer.stop();
    return this.#isConnected;
  }

  async #connect(): Promise<void> {
    try {
      const connection = await connect(this.#options);
      if (this.#isClosed) {
        await connection.close();
        return;
      }
      this.#connection = connection;
      for (const subscribed of this.#subscribed) this.#start(connection, subscribed);
      this.#checkPayload(connection);
      this.#set(true);
      this.#firstConnect.resolve();
      void this.#watch(connection);
    } catch (error) {
      if (this.#isClosed) return;
      this.#set(false, reasonOf(error));
      this.#deps.clock.after(RETRY_MS, () => {
        if (!this.#isClosed) void this.#connect();
      });
    }
  }

  #checkPayload({ info }: NatsConnection): void {
    const needed = LIMITS.maxEnvelopeBytes + FRAME_OVERHEAD;
    if (info === undefined || info.max_payload >= needed) return;
    this.#deps.log.error('NATS refuses the largest messages of the cluster; raise its max_payload', {
      maxPayload: info.max_payload,
      needed,
    });
  }

  // Ends when the connection is closed.
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === 'disconnect') this.#set(false, 'the connection was lost');
      else if (status.type === 'reconnect') this.#set(true);
      else if (status.type === 'error') {
        this.#deps.log.warn('NATS reported an error', { reason: reasonOf(status.error) });
      }
    }
  }

  #set(isConnected: boolean, reason?: string): void {
    this.#isConnected = isConnected;
    this.#reason = isConnected ? undefined : reason;
    this.onChange?.();
  }

  publish(subject: string, payload: Uint8Array, reply?: string): void {
    if (!this.#isConnected || this.#connection === undefined) return;
    try {
      this.#connection.publish(subject, payload, reply === undefined ? undefined : { reply });
    } catch (error) {
      // Too large for the server, or the connection is being closed: a lost message, which its receiver notices.
      this.#deps.log.warn('NATS did not accept a message', {
        reason: reasonOf(error),
        bytes: payload.length,
      });
    }
  }

  subscribe(subject: string, onMessage: (message: BusMessage) => void): BusSubscription {
    const subscribed: Subscribed = { subject, onMessage, subscription: undefined };
    this.#subscribed.add(subscribed);
    if (this.#connection !== undefined) this.#start(this.#connection, subscribed);
    return {
      unsubscribe: () => {
        this.#subscribed.delete(subscribed);
        if (!this.#isClosed) subscribed.subscription?.unsubscribe();
      },
    };
  }

  #start(connection: NatsConnection, subscribed: Subscribed): void {
    const { subject, onMessage } = subscribed;
    subscribed.subscription = connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(busMessageOf(message));
        else this.#deps.log.error('NATS refused a subscription', { subject, reason: reasonOf(error) });
      },
    });
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.onChange = undefined;
    this.#firstConnect.resolve();
    const connection = this.#connection;
    if (connection === undefined) return;
    // The last messages leave before the connection ends, unless it is lost.
    if (this.#isConnected) await connection.flush().catch(() => {});
    this.#isConnected = false;
    await connection.close();
  }
}

const reasonOf = (error: unknown): string => cutText(errorMessage(error), MAX_REASON_CHARS);

const busMessageOf = (message: Msg): BusMessage => ({
  subject: message.subject,
  payload: message.data,
  reply: message.reply ?? '',
  hasNoResponders: message.data.length === 0 && message.headers?.code === NO_RESPONDERS,
});

// The client ignores credentials in URLs, and has one user for all servers.
function connectionOptions({ urls, credentials, name }: NatsBusOptions): ConnectionOptions {
  const { username = '', password = '' } =
    urls.map((url) => new URL(url)).find((url) => url.username !== '' || url.password !== '') ?? {};
  const user = decodeURIComponent(username);
  const pass = decodeURIComponent(password);
  return {
    servers: urls.map((url) => new URL(url).host),
    name,
    noEcho: true,
    noAsyncTraces: true,
    ignoreAuthErrorAbort: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RETRY_MS,
    timeout: DIAL_TIMEOUT_MS,
    pingInterval: PING_MS,
    maxPingOut: MAX_PINGS,
    ...(urls.some((url) => url.startsWith('tls:')) ? { tls: {} } : {}),
    ...(credentials === undefined ? {} : { authenticator: credsAuthenticator(credentials) }),
    ...(user !== '' && pass !== '' ? { user, pass } : {}),
    ...(user !== '' && pass === '' ? { token: user } : {}),
  };
}
