// Nodes of the unmodified peer, naylence, as processes. `test/interop` is a separate package (see `install-packages.ts`).
import { join } from 'node:path';
import { DrivenClient } from './driven-client.ts';
import { installOnce } from './install-packages.ts';
import { freePort, healthy, type Proc, ROOT, startNode } from './processes.ts';
import { admissionUrl } from './sentinel.ts';

const INTEROP = join(ROOT, 'test/interop');
const PEER = join(INTEROP, 'peer');

/** Installs the peer's packages once. */
export const ensureInstalled = (): void => installOnce(INTEROP, '@naylence/runtime');

export interface PeerSentinel {
  proc: Proc;
  port: number;
  url: string;
}

export async function startPeerSentinel(
  options: { port?: number; env?: Record<string, string> } = {},
): Promise<PeerSentinel> {
  ensureInstalled();
  const port = options.port ?? (await freePort());
  const proc = startNode([join(PEER, 'sentinel.mjs')], {
    name: 'peer sentinel',
    env: { FAME_LISTENER_PORT: String(port), ...options.env },
  });
  await healthy(`http://127.0.0.1:${port}/fame/v1/attach/health`, proc);
  return { proc, port, url: admissionUrl(port) };
}

/** Starts the development token server of naylence for one client. Returns its issuer, a URL. */
export async function startPeerTokenServer(client: { id: string; secret: string }): Promise<string> {
  ensureInstalled();
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const server = 'node_modules/@naylence/runtime/dist/esm/naylence/fame/http/oauth2-server-cli.js';
  const proc = startNode([join(INTEROP, server)], {
    name: 'peer token server',
    env: {
      APP_HOST: '127.0.0.1',
      APP_PORT: String(port),
      FAME_JWT_ISSUER: issuer,
      FAME_JWT_CLIENT_ID: client.id,
      FAME_JWT_CLIENT_SECRET: client.secret,
    },
  });
  await healthy(`${issuer}/health`, proc);
  return issuer;
}

export interface PeerOptions {
  url: string;
  address?: string;
  env?: Record<string, string>;
  /** Salt of the node id. Two processes of one script and one salt share their id, as two copies on one host do. */
  salt?: string;
}

let salts = 0;
const peerEnv = ({ url, env, salt }: PeerOptions): Record<string, string> => ({
  FAME_DIRECT_ADMISSION_URL: url,
  FAME_NODE_ID_SALT: salt ?? `${process.pid}-${++salts}`,
  // The default of the peer is one attempt. Nodes that a test starts in parallel may have to wait for each other.
  FAME_SESSION_MAX_INITIAL_ATTEMPTS: '5',
  ...env,
});

/** Starts an agent script and waits until it is attached and bound. */
export async function startPeerAgent(kind: string, options: PeerOptions): Promise<Proc> {
  ensureInstalled();
  const address = options.address ?? `${kind}@fame.fabric`;
  const proc = startNode([join(PEER, 'agent.mjs'), kind, address], {
    name: `peer agent ${address}`,
    env: peerEnv(options),
  });
  await proc.waitFor(/agent_live/);
  return proc;
}

/** A running client of the peer. Commands are the verbs of `interop/peer/client.mjs`. */
export class PeerClient extends DrivenClient {
  /** Starts a client that may be refused. */
  static launch(options: PeerOptions): PeerClient {
    ensureInstalled();
    const proc = startNode([join(PEER, 'client.mjs')], { name: 'peer client', env: peerEnv(options) });
    return new PeerClient(proc);
  }

  static async start(options: PeerOptions): Promise<PeerClient> {
    return PeerClient.launch(options).ready();
  }

  /** Calls an operation. */
  call<T = unknown>(address: string, method: string, ...args: unknown[]): Promise<T> {
    return this.do<T>('call', { address, method, args });
  }
}
