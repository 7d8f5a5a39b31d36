// The wiring: makes every part by hand, starts them in order, stops them in reverse. Nothing is decided here.
import { type Clock, type Dial, type Logger, newId, silentLog, systemClock } from '@fame-fabric/shared';
import { sidOf } from '@fame-fabric/shared/sid';
import { Bindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { SentinelConfig } from './config.ts';
import { Control } from './control.ts';
import { Admission } from './door/admission.ts';
import { Listener } from './door/listener.ts';
import { Counters } from './http/metrics.ts';
import { TraceTap } from './http/trace.ts';
import { OpenCalls } from './open-calls.ts';
import type { Identity } from './replies.ts';
import { Router } from './route.ts';
import { Sessions } from './session/sessions.ts';
import { Sweeper } from './session/sweeper.ts';
import { Uplink, Uplinks } from './uplink/uplink.ts';

/** `name/version`, as attach acks say it. */
export const SOFTWARE = 'fame-fabric/0.1.0';

export interface SentinelOptions
  extends Pick<
    SentinelConfig,
    | 'port'
    | 'host'
    | 'resumeWindowMs'
    | 'drainMs'
    | 'maxSessions'
    | 'maxAddressesPerNode'
    | 'maxOpenCallsPerNode'
    | 'allowedOrigins'
    | 'allowedHosts'
    | 'parentUrl'
    | 'peerUrls'
    | 'connectTimeoutMs'
  > {
  /** @default a random id */
  nodeId?: string | undefined;
  clock?: Clock;
  log?: Logger;
}

export interface RunningSentinel {
  readonly id: string;
  readonly path: string;
  readonly port: number;
  /** Admission URL for nodes, `ws://host:port/fame/v1/attach/ws/downstream`. */
  readonly url: string;
  /** Stops taking work, lets calls in flight finish for up to `drainMs`, then closes everything. */
  drain(): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
}

/** Starts a sentinel in this process. @throws {CONFIG_INVALID | LINK_TIMEOUT} */
export async function startSentinel(options: SentinelOptions): Promise<RunningSentinel> {
  const clock = options.clock ?? systemClock;
  const log = options.log ?? silentLog;
  const startedAt = clock.now();
  const id = options.nodeId ?? newId();
  const self: Identity = { id, path: `/${id}`, sid: sidOf(`/${id}`), flowId: newId(), software: SOFTWARE };
  const ticker = { now: startedAt };
  const counters = new Counters();
  const trace = new TraceTap();
  const bindings = new Bindings();
  const calls = new OpenCalls(options.maxOpenCallsPerNode);
  const sessions = new Sessions({ self, clock, bindings, calls, counters, log }, options);
  const control = new Control({ self, sessions, bindings, calls, trace, log }, options);
  const router = new Router({ self, ticker, sessions, bindings, calls, control, counters, trace, log });
  const admission = new Admission({ self, ticker, sessions, counters, log }, options);
  const listener = new Listener({ admission, router, sessions, clock, ticker, log }, options);
  const sweeper = new Sweeper({
    clock,
    ticker,
    sessions,
    counters,
    log,
    closeUnattached: (olderThan) => listener.closeUnattached(olderThan),
  });

  // A parent gives us our path, so it comes before the port opens; peers may come and go.
  const uplinkParts = { self, clock, ticker, sessions, bindings, router, log, dial: lazyDial };
  const parent =
    options.parentUrl === undefined
      ? undefined
      : new Uplink(uplinkParts, { url: options.parentUrl, kind: 'parent' });
  const peers = options.peerUrls.map((url) => new Uplink(uplinkParts, { url, kind: 'peer' }));
  const uplinks = new Uplinks(parent ? [parent, ...peers] : peers, uplinkParts);
  control.announcer = uplinks;
  sessions.onUnbound = (session, left) => {
    if (session.kind !== 'node') return;
    for (const address of left.addresses) uplinks.unbound(address);
    for (const capability of left.capabilities) uplinks.withdrawn(capability);
  };
  admission.onPeer = (peer) => uplinks.greet(peer);
  if (parent) {
    parent.onPathChanged = () => {
      self.sid = sidOf(self.path);
      for (const session of [...sessions.all()]) {
        if (session.kind === 'node')
          sessions.end(session, CLOSE.serviceRestart, 'the path of this sentinel changed');
      }
    };
  }

  let ready = false;
  let closing: Promise<void> | undefined;
  // The web framework takes longer to load than all the rest, so it waits for the first plain HTTP request.
  let http: Promise<typeof listener.onRequest> | undefined;
  const httpParts = { self, sessions, calls, counters, trace, startedAt, isReady: () => ready };
  listener.onRequest = (request, response) => {
    http ??= import('./http/http.ts').then(({ createHttp }) =>
      createHttp(listener.server, httpParts, options),
    );
    http.then(
      (handle) => handle(request, response),
      (error: unknown) => {
        log.error('the HTTP routes could not be loaded', { error });
        response.writeHead(500).end();
      },
    );
  };
  let port: number;
  try {
    if (parent) await parent.connect(options.connectTimeoutMs);
    port = await listener.start();
  } catch (error) {
    uplinks.close();
    throw error;
  }
  sweeper.start();
  ready = true;
  for (const peer of peers) void peer.connect(Number.POSITIVE_INFINITY);

  const close = (reason: string): Promise<void> => {
    closing ??= (async () => {
      ready = false;
      admission.draining = true;
      sweeper.stop();
      uplinks.close();
      await listener.close(reason);
      sessions.stop();
    })();
    return closing;
  };

  return {
    id,
    get path() {
      return self.path;
    },
    port,
    url: `ws://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}/fame/v1/attach/ws/downstream`,
    async drain() {
      ready = false;
      admission.draining = true;
      router.draining = true;
      const { promise, resolve } = Promise.withResolvers<void>();
      const deadline = clock.after(options.drainMs, resolve);
      const watch = clock.every(50, () => {
        if (calls.count === 0) resolve();
      });
      if (calls.count === 0) resolve();
      await promise;
      deadline.stop();
      watch.stop();
      if (calls.count > 0) log.warn('closing with calls in flight', { openCalls: calls.count });
      await close('the sentinel is shutting down');
    },
    close: () => close('the sentinel is shutting down'),
  };
}

// Only a sentinel with a parent or peers opens connections.
const lazyDial: Dial = async (url, options) => {
  const { wsDial } = await import('@fame-fabric/shared/node');
  return wsDial(url, options);
};
