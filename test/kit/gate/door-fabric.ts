// The fabric of the matrix of the doors: one sentinel with keys, a policy and all doors, a chat agent, an agent with tasks, and one with an
// operation.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChatAgent, defineAgent, operation } from '@fame-fabric/agents';
import { reply, scriptedModel, stall } from '@fame-fabric/agents/testing';
import { Client } from '@fame-fabric/client';
import { openDoors } from '@fame-fabric/doors';
import { DOOR_NAMES, doorOfPath } from '@fame-fabric/doors/config';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { newId, type Role, systemClock } from '@fame-fabric/shared';
import { localKeyFile, readTokenFile } from '@fame-fabric/shared/node';
import { z } from 'zod';
import { startEmbedded } from '../embedded-sentinel.ts';
import { connectLink } from '../our-node.ts';

export const CHAT = 'chat@fame.fabric';
export const WORK = 'work@fame.fabric';
export const SUM = 'sum@fame.fabric';
/** Takes messages. */
export const MAIL = 'mail@fame.fabric';

/**
 * `owner` has the targets. `friend` shares the conversations. `narrow` has a key whose patterns allow another agent only, and the
 * policy denies the chat agent and the one with tasks to `denied`. `local` has the local key.
 */
export const ADMITTED = ['owner', 'friend', 'other', 'narrow', 'denied', 'local'] as const;
export type Admitted = (typeof ADMITTED)[number];
/** The credentials that no door accepts. */
export const FAULTY = {
  none: 'AUTH_MISSING',
  'another scheme': 'AUTH_INVALID',
  malformed: 'AUTH_INVALID',
  'wrong key': 'AUTH_INVALID',
  'wrong local key': 'AUTH_INVALID',
  'expired key': 'AUTH_INVALID',
  'removed key': 'AUTH_INVALID',
} as const;
export type Faulty = keyof typeof FAULTY;

const ROLES: Readonly<Partial<Record<Admitted, Role>>> = { narrow: 'agent' };

const POLICY = `
version: '1'
type: BasicAuthorizationPolicy
default_effect: deny
rules:
  - { id: admins, effect: allow, role: admin }
  - { id: denied, effect: deny, action: Call, principal: denied, address: [${CHAT}, ${WORK}, ${MAIL}] }
  - { id: connect, effect: allow, action: Connect, role: [client, agent], origin_type: downstream }
  - { id: serve, effect: allow, action: [Bind, Advertise], role: agent, address: '*@fame.fabric' }
  - { id: call, effect: allow, action: Call, address: [${CHAT}, ${WORK}, ${SUM}, ${MAIL}] }
`;

/** What a verb acts on. The ids of the second set of the same form are unknown to the fabric. */
export interface DoorTarget {
  readonly conversation: string;
  /** A turn that has ended, and is the last one. */
  readonly turn: string;
  /** A conversation with a turn that runs. */
  readonly busy: string;
  readonly busyTurn: string;
  /** A conversation for verbs with an id that a caller may choose. */
  readonly named: string;
  readonly task: string;
  /** A session of MCP. */
  readonly session: string;
}

export class DoorGateFabric {
  readonly url: string;
  readonly #authorizations: ReadonlyMap<string, string | undefined>;
  readonly #owner: Client;
  readonly #close: () => Promise<void>;
  /** Number of messages that arrived. */
  received = 0;

  private constructor(
    url: string,
    authorizations: ReadonlyMap<string, string | undefined>,
    owner: Client,
    close: () => Promise<void>,
  ) {
    this.url = url;
    this.#authorizations = authorizations;
    this.#owner = owner;
    this.#close = close;
  }

  static async open(): Promise<DoorGateFabric> {
    const directory = mkdtempSync(join(tmpdir(), 'fame-test-doors-gate-'));
    const keys = new KeysChange(join(directory, 'keys'), systemClock);
    const tokens = new Map<string, string>();
    for (const name of ['owner', 'friend', 'other', 'narrow', 'denied'] as const) {
      const allow = name === 'narrow' ? [`Call:${SUM}`] : undefined;
      tokens.set(name, (await keys.add({ name, role: ROLES[name] ?? 'client', allow })).token);
    }
    const house = (await keys.add({ name: 'house', role: 'agent' })).token;
    const expiresAt = systemClock.now() + 1;
    tokens.set('expired key', (await keys.add({ name: 'expired', role: 'admin', expiresAt })).token);
    tokens.set('removed key', (await keys.add({ name: 'removed', role: 'admin' })).token);
    const authPolicyPath = join(directory, 'policy.yaml');
    writeFileSync(authPolicyPath, POLICY);
    const sentinel = await startEmbedded({
      dataDir: directory,
      authPolicyPath,
      doors: {
        claims: (path) => doorOfPath(path, DOOR_NAMES) !== undefined,
        open: async (host) => openDoors(host, DOOR_NAMES),
      },
    });
    const url = `http://127.0.0.1:${sentinel.port}`;
    const link = await connectLink(sentinel.url, { token: house });
    // A turn with this message has no end.
    const isBusy = ({ messages }: { messages: readonly { content?: unknown }[] }): boolean =>
      messages.at(-1)?.content === 'wait';
    const model = scriptedModel([
      { when: isBusy, steps: ['Begun', stall()], times: Number.POSITIVE_INFINITY },
      { ...reply('Yes.'), times: Number.POSITIVE_INFINITY },
    ]);
    await new ChatAgent({ model }).serve(link);
    await defineAgent({ address: WORK, tasks: { start: () => new Promise(() => {}) } }).serve(link);
    const add = operation({ params: z.object({ x: z.number() }), run: ({ x }) => x + 1 });
    await defineAgent({ address: SUM, operations: { add } }).serve(link);
    const owner = new Client(await connectLink(sentinel.url, { token: tokens.get('owner')! }));
    const wrong = (token: string): string => token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A');
    const local = readTokenFile(localKeyFile(directory));
    tokens.set('local', local);
    tokens.set('wrong local key', wrong(local));
    tokens.set('wrong key', wrong(tokens.get('other')!));
    const authorizations = new Map<string, string | undefined>([
      ...[...tokens].map(([name, token]) => [name, `Bearer ${token}`] as const),
      ['none', undefined],
      ['another scheme', `Basic ${Buffer.from('owner:secret').toString('base64')}`],
      ['malformed', 'Bearer fk_%%%'],
    ]);
    const fabric = new DoorGateFabric(url, authorizations, owner, async () => {
      await sentinel.close();
      rmSync(directory, { recursive: true });
    });
    await defineAgent({
      address: MAIL,
      onMessage: () => {
        fabric.received++;
      },
    }).serve(link);
    // The doors have links of the key when it is removed.
    for (const path of ['/v1/models', '/agents'])
      if (!(await fabric.fetch('removed key', path)).ok) throw new Error('the key is not valid yet');
    await keys.remove('removed');
    return fabric;
  }

  fetch(caller: Admitted | Faulty, path: string, init: RequestInit = {}): Promise<Response> {
    const authorization = this.#authorizations.get(caller);
    const headers = new Headers(init.headers);
    if (authorization !== undefined) headers.set('authorization', authorization);
    return fetch(this.url + path, { ...init, headers });
  }

  /** Makes targets of the owner. With `share`, the friend may use the conversations too. */
  async target(share: boolean): Promise<DoorTarget> {
    const [conversation, turn, busy, busyTurn, named, task] = Array.from({ length: 6 }, newId) as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const begin = (id: string) =>
      this.#owner.conversation(CHAT, { id, ...(share ? { share: ['friend'] } : {}) });
    await Promise.all([
      begin(conversation).ask('Hi', { turnId: turn }),
      begin(named).ask('Hi'),
      this.#owner.call(WORK, 'tasks/send', {
        id: task,
        message: { role: 'user', parts: [{ type: 'text', text: 'go' }] },
      }),
    ]);
    for await (const event of begin(busy).stream('wait', { turnId: busyTurn, onLeave: 'continue' }))
      if (event.type === 'text') break;
    return { conversation, turn, busy, busyTurn, named, task, session: await this.#session() };
  }

  async #session(): Promise<string> {
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'gate', version: '1' },
    };
    const opened = await this.fetch('owner', '/mcp', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }),
    });
    await opened.text();
    return opened.headers.get('mcp-session-id')!;
  }

  /** Reads the targets as their owner. */
  async state({ conversation, busy, named, task }: DoorTarget): Promise<unknown> {
    const read = (id: string) => this.#owner.conversations(CHAT).readEvents(id);
    return Promise.all([
      read(conversation),
      read(busy),
      read(named),
      this.#owner.call(WORK, 'tasks/get', { id: task }),
      this.#owner.call(WORK, 'tasks/pushNotification/list', { id: task }),
    ]);
  }

  /** Ends what runs. */
  async release({ busy, task }: DoorTarget): Promise<void> {
    await this.#owner.conversation(CHAT, { id: busy, isResumed: true }).end();
    await this.#owner.call(WORK, 'tasks/cancel', { id: task }).catch(() => undefined); // a verb may have cancelled it
  }

  close(): Promise<void> {
    return this.#close();
  }
}

/** Ids of the same form that name nothing. */
export const missingTarget = (): DoorTarget => ({
  conversation: newId(),
  turn: newId(),
  busy: newId(),
  busyTurn: newId(),
  named: newId(),
  task: newId(),
  session: randomUUID(),
});
