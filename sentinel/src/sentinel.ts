// The wiring: constructs every part, starts them in order and stops them in reverse. No part is changed afterwards. The parts
// that need no port are constructed in `parts.ts`, which unit tests use too.
import type { Server } from 'node:http';
import type { Clock, Logger, TokenSource } from '@fame-fabric/shared';
import { admissionUrl, configInvalid, errorMessage, type TokenSettings } from '@fame-fabric/shared/internal';
import {
  ClientAddresses,
  type Doors,
  newId,
  readSession,
  sessionFile,
  silentLog,
  systemClock,
  writeSession,
} from '@fame-fabric/shared/router';
import { AuditLog, type AuditLogDeps } from './access/audit-log.ts';
import { openAccess } from './access/open-access.ts';
import type { PolicySource } from './access/permissions.ts';
import type { ClusterPolicy } from './access/policy/cluster-policy.ts';
import type { PolicyFile } from './access/policy/policy-file.ts';
import type { RevokedKeys } from './access/revoked-keys.ts';
import type { TokenRules } from './access/tokens/token-rules.ts';
import type { BusDeps, OpenBus } from './cluster/open-bus.ts';
import { DEFAULT_ADDRESS_HOLD_MS, type SentinelConfig } from './config.ts';
import { Listener, type RequestHandler } from './door/listener.ts';
import type { TlsFiles } from './door/tls.ts';
import type { HttpDeps, HttpOptions } from './http/http.ts';
import { LazyDoors } from './lazy-doors.ts';
import { History } from './observe/history.ts';
import type { Signatures } from './overlay/overlay.ts';
import { makeParts } from './parts.ts';
import type { Uplink, UplinkDeps, UplinkOptions } from './uplink/uplink.ts';

/** Longest wait for NATS at the start, in ms. Without NATS the sentinel serves its own nodes. */
const CLUSTER_WAIT_MS = 5_000;

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
      | 'queueBytes'
      | 'queueTotalBytes'
      | 'memoryLimitBytes'
    >,
    Partial<Pick<SentinelConfig, 'cluster'>> {
  /** @default a random id */
  readonly nodeId?: string | undefined;
  /** Directory of the local key. Without one there is no key, and requests that need the key are refused. */
  readonly dataDir?: string | undefined;
  /** File with keys. @default `keys` in the data directory, if there is one */
  readonly keysFile?: string | undefined;
  /** Refuses requests without a credential. @default true with the profile `gated`, or if the keys file has a key and the profile is not `open` */
  readonly isCredentialNeeded?: boolean | undefined;
  /** Token to send to the parent and to peers. @default none */
  readonly uplinkToken?: Partial<TokenSettings> | undefined;
  /** Time for which an address without a node belongs to the key of its last holder, in ms. @default 60_000 */
  readonly addressHoldMs?: number | undefined;
  /** `gated` refuses requests without a credential, `open` admits them. @default decided by the keys file */
  readonly securityProfile?: SentinelConfig['securityProfile'];
  /** With the profile `overlay`: verifies Data messages that it forwards. @default true */
  readonly verifiesData?: boolean | undefined;
  /** Rules for tokens. @default tokens are refused */
  readonly tokenRules?: TokenRules | undefined;
  /** Policy file. @default roles decide */
  readonly authPolicyPath?: string | undefined;
  /** File of the audit log. @default none */
  readonly auditLogPath?: string | undefined;
  /** Ids of sentinels that may attach as peers, besides those at `peerUrls`. @default none */
  readonly peerIds?: readonly string[] | undefined;
  /** Files of a port with TLS. @default the port serves plain HTTP */
  readonly tls?: TlsFiles | undefined;
  /** Networks of proxies whose X-Forwarded-For is believed. @default none */
  readonly trustedProxies?: readonly string[] | undefined;
  /** Connections of one client address that have not attached. @default 200 */
  readonly maxConnectionsPerAddress?: number | undefined;
  /** Reads and writes WebSocket frames through `ws` alone, which is slower. @default only if the installed `ws` fails `ws-check.ts` */
  readonly usesPlainWs?: boolean | undefined;
  /** Doors on the same port: HTTP routes for clients of other protocols. @default none */
  readonly doors?: Doors | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
}

export interface RunningSentinel {
  readonly id: string;
  readonly path: string;
  readonly port: number;
  /** Admission URL for nodes, `ws://host:port/fame/v1/attach/ws/downstream`; `wss:` with TLS. */
  readonly url: string;
  /** Reads the policy file and changed TLS files again, and opens the audit log again. */
  reload(): void;
  /** States in one line which credentials the sentinel checks, for its operator. */
  readonly accessSummary: string;
  /** Refuses new work, lets calls in flight finish for up to `drainMs`, then closes everything. */
  drain(): Promise<void>;
  /** Closes everything at once. */
  close(): Promise<void>;
}

/** Starts a sentinel in this process. @throws {CONFIG_INVALID | LINK_TIMEOUT} */
export async function startSentinel(options: SentinelOptions): Promise<RunningSentinel> {
  const clock = options.clock ?? systemClock;
  const startedAt = clock.monotonic();
  let isReady = false;

  const baseLog = options.log ?? silentLog;
  const path = (): string => parts.identity.path;
  const ownPolicy = await openPolicy(options.authPolicyPath, baseLog);
  const rules = options.cluster && (await openRules(ownPolicy, baseLog));
  const access = await openAccess(options, {
    clock,
    log: baseLog,
    path,
    revokedKeys: rules?.revokedKeys,
  });
  const policy: PolicySource | undefined = rules?.policy ?? ownPolicy;
  const audit = await openAuditLog(options.auditLogPath, { clock, log: baseLog });
  const tls =
    options.tls === undefined
      ? undefined
      : new (await import('./door/tls.ts')).Tls(options.tls, {
          clock,
          log: baseLog,
          authorities: access.authorities,
        });
  const { nodeId = newId(), addressHoldMs = DEFAULT_ADDRESS_HOLD_MS } = options;
  const partsOptions = { ...options, id: nodeId, addressHoldMs };
  const signatures = await openSignatures(partsOptions);
  const bus = await openBus(partsOptions, { clock, log: baseLog }, nodeId);
  const deps = { access, audit, clock, log: baseLog, policy, signatures, tls, rules, joinCluster: bus?.join };
  const clients = new ClientAddresses(options.trustedProxies ?? []);
  const parts = { access, clients, clock, ...makeParts(deps, partsOptions) };
  const { admission, calls, cluster, identity, log, router, sessions, sweeper, table } = parts;
  const { parent, peers } = await makeUplinks(parts, options);
  const uplinks = parent ? [parent, ...peers] : peers;
  const portOptions = { ...options, isEncrypted: tls !== undefined };
  const history = new History(parts);
  const httpDeps = {
    ...parts,
    history,
    startedAt,
    isReady: () => isReady,
    tls,
    uplinks,
    doors: options.doors,
  };
  const http = lazyHttp(httpDeps, portOptions, log);
  const doors = options.doors && new LazyDoors({ ...parts, http, doors: options.doors }, portOptions);
  const onRequest = doors?.onRequest ?? http;
  const listener = new Listener({ ...parts, onRequest, onUpgrade: doors?.onUpgrade, tls }, portOptions);
  const closeUplinks = (): void => {
    for (const uplink of uplinks) uplink.close();
  };

  let port: number;
  try {
    // A parent assigns our path, so attach to it before the port opens. Peers are optional and attach later.
    if (parent) await parent.connect(options.connectTimeoutMs);
    await bus?.whenConnected(CLUSTER_WAIT_MS);
    // A node must not attach with a key that the cluster refuses.
    await cluster?.whenReady();
    port = await listener.start();
  } catch (error) {
    closeUplinks();
    await cluster?.close();
    throw error;
  }
  sweeper.start();
  history.start();
  for (const peer of peers) peer.connectInBackground();
  isReady = true;

  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= (async () => {
      isReady = false;
      admission.stop();
      sweeper.stop();
      history.stop();
      closeUplinks();
      await doors?.close();
      await listener.close('the sentinel is shutting down');
      await cluster?.close();
      sessions.stop();
      log.flush();
      await audit?.close();
    })();
    return closing;
  };

  // First the open calls end, then the queues with their last messages become empty.
  const whenIdle = async (): Promise<void> => {
    await calls.whenNone();
    await Promise.all([...table.all()].map(({ outbound }) => outbound.whenEmpty()));
  };

  return {
    reload() {
      tls?.reload();
      audit?.reopen();
      parts.policyChange.check(true);
    },
    id: identity.id,
    get path() {
      return identity.path;
    },
    port,
    url: admissionUrl(options.host, port, tls !== undefined),
    accessSummary: `${access.summary(tls !== undefined)}${signatures ? ' Envelopes must be signed.' : ''}`,
    async drain() {
      isReady = false;
      admission.stop();
      router.drain();
      cluster?.drain();
      const { promise: timeout, resolve } = Promise.withResolvers<void>();
      const deadline = clock.after(options.drainMs, resolve);
      await Promise.race([whenIdle(), timeout]);
      deadline.stop();
      if (calls.count > 0) log.warn('closing with calls in flight', { openCalls: calls.count });
      await close();
    },
    close,
  };
}

// Loads the client of NATS only for a cluster.
async function openBus(
  { cluster, ...times }: Pick<SentinelOptions, 'cluster' | 'resumeWindowMs'> & { addressHoldMs: number },
  deps: BusDeps,
  id: string,
): Promise<OpenBus | undefined> {
  if (cluster === undefined) return undefined;
  return (await import('./cluster/open-bus.ts')).openBus(cluster, deps, {
    id,
    resumeWindowMs: times.resumeWindowMs,
    addressHoldMs: times.addressHoldMs,
  });
}

// Loads the signing of envelopes only for the profile that needs it.
async function openSignatures(
  options: Pick<SentinelOptions, 'dataDir' | 'securityProfile' | 'verifiesData'> & { readonly id: string },
): Promise<Signatures | undefined> {
  if (options.securityProfile !== 'overlay') return undefined;
  return (await import('./overlay/overlay.ts')).openSignatures(options);
}

// Loads the YAML parser only for a policy.
async function openPolicy(path: string | undefined, log: Logger): Promise<PolicyFile | undefined> {
  if (path === undefined) return undefined;
  const { PolicyFile } = await import('./access/policy/policy-file.ts');
  return new PolicyFile(path, log);
}

// The rules that the sentinels of a cluster share.
async function openRules(
  own: PolicyFile | undefined,
  log: Logger,
): Promise<{ policy: ClusterPolicy; revokedKeys: RevokedKeys }> {
  const [{ ClusterPolicy }, { RevokedKeys }] = await Promise.all([
    import('./access/policy/cluster-policy.ts'),
    import('./access/revoked-keys.ts'),
  ]);
  return { policy: new ClusterPolicy(own, log), revokedKeys: new RevokedKeys() };
}

async function openAuditLog(path: string | undefined, deps: AuditLogDeps): Promise<AuditLog | undefined> {
  if (path === undefined) return undefined;
  try {
    return await AuditLog.open(path, deps);
  } catch (error) {
    throw configInvalid([`FAME_AUDIT_LOG: ${errorMessage(error)}`]);
  }
}

// Loads the link only for a parent or peers: it takes a tenth of the time of a start.
async function makeUplinks(
  deps: Omit<UplinkDeps, 'dial'>,
  {
    dataDir,
    parentUrl,
    peerUrls,
    uplinkToken = {},
  }: Pick<SentinelOptions, 'dataDir' | 'parentUrl' | 'peerUrls' | 'uplinkToken'>,
): Promise<{ parent: Uplink | undefined; peers: readonly Uplink[] }> {
  if (parentUrl === undefined && peerUrls.length === 0) return { parent: undefined, peers: [] };
  const [{ Uplink }, { AdmissionToken, wsDial }] = await Promise.all([
    import('./uplink/uplink.ts'),
    import('@fame-fabric/shared/node'),
  ]);
  const uplinkDeps = { ...deps, dial: wsDial };
  const settings = { token: undefined, tokenFile: undefined, ...uplinkToken, dataDir: undefined };
  const hasToken = Object.values(settings).some((value) => value !== undefined);
  // A key that is only found belongs to this sentinel, so it is not sent.
  const tokenFor = (to: string): TokenSource | undefined =>
    hasToken ? new AdmissionToken(to, settings) : undefined;
  const parent =
    parentUrl === undefined
      ? undefined
      : new Uplink(uplinkDeps, {
          ...parentOptions(parentUrl, dataDir, deps.identity.id, deps.log),
          token: tokenFor(parentUrl),
        });
  return {
    parent,
    peers: peerUrls.map((url) => new Uplink(uplinkDeps, { url, kind: 'peer', token: tokenFor(url) })),
  };
}

// A restarted child resumes its session at the parent, so that its path and the addresses below it stay.
function parentOptions(
  url: string,
  dataDir: string | undefined,
  systemId: string,
  log: Logger,
): UplinkOptions {
  if (dataDir === undefined) return { url, kind: 'parent' };
  const file = sessionFile(dataDir, [url, systemId]);
  return {
    url,
    kind: 'parent',
    resumeToken: readSession(file)?.resumeToken,
    onResumeToken(resumeToken) {
      try {
        writeSession(file, { systemId, resumeToken });
      } catch (error) {
        log.warn('cannot store the session at the parent; a restart begins a new one', { error });
      }
    },
  };
}

// The web framework takes longer to load than all the rest, so it waits for the first plain HTTP request.
function lazyHttp(deps: HttpDeps, options: HttpOptions, log: Logger): RequestHandler {
  const load = async (server: Server) => (await import('./http/http.ts')).createHttp(server, deps, options);
  let http: ReturnType<typeof load> | undefined;
  return (server, request, response) => {
    http ??= load(server);
    http.then(
      (handle) => handle(request, response),
      (error: unknown) => {
        log.error('cannot load the HTTP routes', { error });
        response.writeHead(500).end();
      },
    );
  };
}
