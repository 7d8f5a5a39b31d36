// The fabric of the gate matrix: one sentinel with TLS, a policy and credentials of every kind, a chat agent, and an agent with tasks.
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { ChatAgent, defineAgent } from '@fame-fabric/agents';
import { reply, scriptedModel } from '@fame-fabric/agents/testing';
import type { RunningSentinel } from '@fame-fabric/sentinel';
import { TEST_AUDIENCE } from '@fame-fabric/sentinel/testing';
import { CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import type { ClientOptions } from 'ws';
import { startEmbedded } from '../embedded-sentinel.ts';
import { connectLink } from '../our-node.ts';
import { RawNode, type RawOptions } from '../raw-node.ts';
import { type Credential, GateCredentials } from './gate-credentials.ts';

export const CHAT = 'chat@fame.fabric';
export const WORK = 'work@fame.fabric';

export type Mode = 'policy' | 'roles';
/** Software of a node, which decides about the codes of refusals. */
export type Software = 'ours' | 'foreign';

const POLICY = `
version: '1'
type: BasicAuthorizationPolicy
default_effect: deny
rules:
  - { id: revoked, effect: deny, principal: ['jwt:**/revoked', 'cert:CN=revoked'] }
  - { id: admins, effect: allow, role: admin }
  - { id: root, effect: allow, principal: 'cert:CN=admin' }
  - { id: sentinels, effect: allow, role: sentinel, action: [Connect, Bind, Advertise] }
  - { id: doors, effect: allow, role: door, action: Watch, address: nodes }
  - { id: low, effect: deny, action: [Bind, Advertise], principal: 'cert:CN=low' }
  - { id: connect, effect: allow, action: Connect, role: [client, agent, door], origin_type: downstream }
  - { id: serve, effect: allow, action: [Bind, Advertise], role: agent, address: '*@fame.fabric' }
  - { id: talk, effect: allow, action: Call, address: [${CHAT}, ${WORK}] }
  - { id: owners, effect: allow, action: Call, principal: [owner, 'jwt:**/owner', 'cert:CN=owner'] }
`;

export class GateFabric {
  readonly mode: Mode;
  readonly credentials: GateCredentials;
  readonly sentinel: RunningSentinel;
  readonly #issuerServer: Server;
  readonly #nodes: RawNode[] = [];

  private constructor(
    mode: Mode,
    credentials: GateCredentials,
    sentinel: RunningSentinel,
    issuerServer: Server,
  ) {
    this.mode = mode;
    this.credentials = credentials;
    this.sentinel = sentinel;
    this.#issuerServer = issuerServer;
  }

  /** Starts everything. `peerIds` are the ids of sentinels that may be peers. */
  static async open(mode: Mode, directory: string, peerIds: readonly string[]): Promise<GateFabric> {
    const server = createServer((_, response) => {
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [publicJwk] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuerUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const credentials = await GateCredentials.make(directory, issuerUrl);
    const { authority, issuer, server: certificate } = credentials;
    const { publicJwk } = issuer;
    setDefaultCACertificates([...getCACertificates('default'), readFileSync(authority.file, 'utf8')]);
    const authPolicyPath = join(directory, 'policy.yaml');
    writeFileSync(authPolicyPath, POLICY);
    const sentinel = await startEmbedded({
      dataDir: directory,
      peerIds,
      tls: { certFile: certificate.cert, keyFile: certificate.key, clientCaFile: authority.file },
      tokenRules: issuer.rules({ audience: TEST_AUDIENCE }),
      authPolicyPath: mode === 'policy' ? authPolicyPath : undefined,
      // Sign-in links lead to the console; no request of the matrix opens it.
      doors: { names: ['console'], claims: () => false, open: () => Promise.reject(new Error('no doors')) },
    });
    const fabric = new GateFabric(mode, credentials, sentinel, server);
    const { token } = credentials.house;
    const [chat, work] = await Promise.all([
      connectLink(sentinel.url, { token }),
      connectLink(sentinel.url, { token }),
    ]);
    const model = scriptedModel([{ ...reply('Yes.'), times: Number.POSITIVE_INFINITY }]);
    await new ChatAgent({ model }).serve(chat);
    await defineAgent({ address: WORK, tasks: { start: () => new Promise(() => {}) } }).serve(work);
    return fabric;
  }

  /** Options of a node with a credential, as header or as subprotocol. */
  optionsFor(
    { token, certificate }: Credential,
    { software = 'ours', place = 'header', ...more }: NodeMore = {},
  ): RawOptions {
    const ws: ClientOptions = {
      ...(certificate && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }),
      ...(token !== undefined && place === 'header' && { headers: { authorization: `Bearer ${token}` } }),
    };
    const capabilities = software === 'ours' ? [CANCEL_CAPABILITY] : [];
    return {
      ws,
      ...(token !== undefined && place === 'subprotocol' && { protocols: ['bearer', token] }),
      ...more,
      attach: { capabilities, ...more.attach },
    };
  }

  /** Opens a connection without attaching. */
  async open(credential: Credential, more?: NodeMore): Promise<RawNode> {
    const node = await RawNode.open(this.sentinel.url, this.optionsFor(credential, more));
    this.#nodes.push(node);
    return node;
  }

  async attached(credential: Credential, more?: NodeMore): Promise<RawNode> {
    const node = await this.open(credential, more);
    await node.attach();
    return node;
  }

  /** Cuts the nodes of the last row. */
  async cutNodes(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map((node) => node.cut()));
  }

  async close(): Promise<void> {
    await this.cutNodes();
    await this.sentinel.close();
    await new Promise((resolve) => this.#issuerServer.close(resolve));
  }
}

export interface NodeMore extends RawOptions {
  readonly software?: Software | undefined;
  readonly place?: 'header' | 'subprotocol' | undefined;
}
