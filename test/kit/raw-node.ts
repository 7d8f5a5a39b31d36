// A hand-written node: a WebSocket client that sends and receives envelopes as plain JSON, so that tests decide about every
// byte on the wire, valid or not. It uses none of our classes. It grants credit by itself unless `credits` is false.
import { randomBytes } from 'node:crypto';
import { type ClientOptions, WebSocket } from 'ws';
import { WAIT_LIMIT_MS } from './wait-limit.ts';

/** An envelope as parsed JSON. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads arbitrary wire content by path
export type Json = any;

export interface Closed {
  code: number;
  reason: string;
}

export interface RawOptions {
  systemId?: string;
  instanceId?: string;
  /** Last part of the attach path before the id. @default downstream */
  kind?: 'downstream' | 'peer';
  protocols?: string[];
  /** Send text messages instead of binary ones. */
  text?: boolean;
  /** Grant credit after 16 messages of a flow. @default true */
  credits?: boolean;
  /** Merged into the NodeAttach frame. */
  attach?: Json;
  query?: string;
  ws?: ClientOptions;
}

export const id = (): string => randomBytes(12).toString('base64url').replaceAll(/[-_]/g, 'x');

/** Messages that are not JSON become `{ unreadable }`, so that a test can see that they arrived. */
const parse = (text: string): Json => {
  try {
    return JSON.parse(text);
  } catch {
    return { unreadable: text };
  }
};

const asText = (data: unknown): string => Buffer.from(data as Uint8Array).toString('utf8');

export class RawNode {
  readonly socket: WebSocket;
  readonly systemId: string;
  readonly instanceId: string;
  readonly flowId = id();
  /** Messages that arrived and were not returned by `next`, oldest first. */
  readonly inbox: Json[] = [];
  /** Count of messages that arrived, by kind of WebSocket message. */
  readonly seen = { binary: 0, text: 0 };
  readonly closed: Promise<Closed>;
  readonly pings: number[] = [];
  isClosed = false;
  /** Set by `attach`. */
  path = '';
  sentinelPath = '';
  ack: Json;
  readonly #options: RawOptions;
  #waiters = new Set<(message?: Json) => boolean>();
  #received = new Map<string, number>();
  #seq = 0;

  private constructor(url: string, options: RawOptions) {
    this.#options = options;
    this.systemId = options.systemId ?? id();
    this.instanceId = options.instanceId ?? id();
    const base = options.kind ? url.replace(/\/(downstream|peer)$/, `/${options.kind}`) : url;
    this.socket = new WebSocket(`${base}/${this.systemId}${options.query ?? ''}`, options.protocols ?? [], {
      perMessageDeflate: false,
      ...options.ws,
    });
    this.socket.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    this.socket.on('ping', () => this.pings.push(Date.now()));
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => {
        this.isClosed = true;
        resolve({ code, reason: reason.toString() });
        for (const waiter of this.#waiters) waiter();
      });
    });
  }

  /** Opens the socket without attaching. Rejects when the upgrade is refused. */
  static async open(url: string, options: RawOptions = {}): Promise<RawNode> {
    const node = new RawNode(url, options);
    await new Promise<void>((resolve, reject) => {
      node.socket.once('open', () => resolve());
      node.socket.once('error', reject);
      node.socket.once('unexpected-response', (_req, res) =>
        reject(new Error(`upgrade refused with ${res.statusCode}`)),
      );
    });
    return node;
  }

  /** Opens the socket and attaches. Rejects with the reason when the attach is refused. */
  static async attached(url: string, options: RawOptions = {}): Promise<RawNode> {
    const node = await RawNode.open(url, options);
    await node.attach();
    return node;
  }

  async attach(): Promise<Json> {
    const corrId = id();
    this.send({
      corrId,
      frame: {
        type: 'NodeAttach',
        originType: this.#options.kind ?? 'downstream',
        systemId: this.systemId,
        instanceId: this.instanceId,
        ...this.#options.attach,
      },
    });
    const ack = await this.next((m) => m.frame?.type === 'NodeAttachAck' && m.corrId === corrId, 5_000);
    this.ack = ack;
    if (!ack.frame.ok) throw new Error(`attach refused: ${ack.frame.code} ${ack.frame.reason}`);
    this.path = ack.frame.assignedPath;
    this.sentinelPath = ack.frame.targetPhysicalPath;
    return ack;
  }

  /** Completes an envelope with the fields that every node sets, sends it and returns it as sent. */
  send(envelope: Json): Json {
    const full = {
      version: '1.0',
      id: id(),
      flowId: this.flowId,
      seqId: this.#seq++,
      flowFlags: 0,
      ts: new Date().toISOString(),
      ...envelope,
    };
    this.raw(JSON.stringify(full));
    return full;
  }

  /** Sends these bytes unchanged as one message. */
  raw(message: string | Uint8Array): void {
    if (this.#options.text) this.socket.send(asText(Buffer.from(message as string)));
    else this.socket.send(Buffer.from(message as string), { binary: true });
  }

  /** Sends a link-local request and waits for its answer by corrId. */
  async request(frame: Json, header: Json = {}, timeoutMs = WAIT_LIMIT_MS): Promise<Json> {
    const corrId = id();
    this.send({ rtype: 1, replyTo: `__sys__@${this.path}`, corrId, ...header, frame });
    return this.next((m) => m.corrId === corrId, timeoutMs);
  }

  bind(address: string): Promise<Json> {
    return this.request({ type: 'AddressBind', address, physicalPath: this.path });
  }

  /** Binds an address. Throws if the bind is refused. */
  async serve(address: string, onRequest?: (request: Json, node: RawNode) => void): Promise<void> {
    const ack = await this.bind(address);
    if (!ack.frame.ok) throw new Error(`bind refused: ${ack.frame.code}`);
    if (onRequest) this.onRequest(onRequest);
  }

  advertise(address: string, capabilities: string[]): Promise<Json> {
    return this.request({ type: 'CapabilityAdvertise', capabilities, address });
  }

  /** Handles every JSON-RPC request that arrives from now on. */
  onRequest(handle: (request: Json, node: RawNode) => void): void {
    const waiter = (message?: Json): boolean => {
      if (typeof message?.frame?.payload?.method !== 'string') return false;
      handle(message, this);
      return true;
    };
    this.#waiters.add(waiter);
  }

  replyTo(): string {
    return `__rpc__${this.systemId.slice(0, 8)}@${this.path}`;
  }

  /** Sends a JSON-RPC request and returns the envelope as sent. */
  sendCall(to: string | undefined, method: string, params: Json = {}, header: Json = {}): Json {
    const corrId = header.corrId ?? id();
    return this.send({
      ...(to === undefined ? {} : { to }),
      replyTo: this.replyTo(),
      rtype: 2,
      corrId,
      ...header,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, method, params } },
    });
  }

  /** Sends a JSON-RPC request and waits for the first answer: a reply, or a DeliveryAck that refuses it. */
  call(
    to: string | undefined,
    method: string,
    params: Json = {},
    header: Json = {},
    timeoutMs = WAIT_LIMIT_MS,
  ): Promise<Json> {
    const sent = this.sendCall(to, method, params, header);
    return this.next((m) => m.corrId === sent.corrId, timeoutMs);
  }

  /** Answers a request with a result. */
  answer(request: Json, result: Json, header: Json = {}): Json {
    return this.send({
      to: request.replyTo,
      corrId: request.corrId,
      traceId: request.traceId,
      ...header,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: request.frame.payload.id, result } },
    });
  }

  /** Streams 1 to `count` and the end, never more than 32 items ahead of the credit that comes back. */
  async answerStream(request: Json, count: number, item: (n: number) => Json = (n) => n): Promise<void> {
    const flowId = id();
    let credits = 32;
    const refill = (message: Json): boolean =>
      message.frame?.type === 'CreditUpdate' && message.frame.flowId === flowId;
    for (let n = 1; n <= count + 1; n++) {
      while (credits === 0 || this.inbox.some(refill)) {
        const update = await this.next(refill, 30_000);
        credits = Math.min(32, credits + update.frame.credits);
      }
      credits--;
      this.answer(request, n > count ? null : item(n), { flowId });
    }
  }

  /** Returns the oldest message that fits, now or within `timeoutMs`. Others stay in the inbox. */
  next(fits: (message: Json) => boolean = () => true, timeoutMs = WAIT_LIMIT_MS): Promise<Json> {
    const at = this.inbox.findIndex(fits);
    if (at >= 0) return Promise.resolve(this.inbox.splice(at, 1)[0]);
    return new Promise((resolve, reject) => {
      const end = (error?: Error, message?: Json): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        if (error) reject(error);
        else resolve(message);
      };
      const waiter = (message?: Json): boolean => {
        if (message === undefined) {
          end(new Error('the socket closed before the message arrived'));
          return false;
        }
        if (!fits(message)) return false;
        end(undefined, message);
        return true;
      };
      const timer = setTimeout(
        () => end(new Error(`no such message within ${timeoutMs} ms; inbox: ${this.describeInbox()}`)),
        timeoutMs,
      );
      if (this.isClosed) end(new Error('the socket is closed'));
      else this.#waiters.add(waiter);
    });
  }

  /** True if no message that fits arrives before the ack of a heartbeat: proves silence without a sleep. */
  async silent(fits: (message: Json) => boolean): Promise<boolean> {
    await this.heartbeat();
    return !this.inbox.some(fits);
  }

  heartbeat(): Promise<Json> {
    return this.request({ type: 'NodeHeartbeat' });
  }

  /** The ack of a heartbeat sent now, or nothing after `timeoutMs`. */
  heartbeatWithin(timeoutMs: number): Promise<Json | undefined> {
    return this.request({ type: 'NodeHeartbeat' }, {}, timeoutMs).catch(() => undefined);
  }

  describeInbox(): string {
    return this.inbox
      .slice(-8)
      .map((m) => JSON.stringify(m).slice(0, 200))
      .join(' | ');
  }

  /** Closes normally and waits for the end. */
  close(): Promise<Closed> {
    this.socket.close(1000);
    return this.closed;
  }

  /** Cuts the TCP connection without a closing handshake. */
  cut(): Promise<Closed> {
    this.socket.terminate();
    return this.closed;
  }

  /** Stops reading from the TCP socket. */
  stall(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  #onMessage(data: unknown, isBinary: boolean): void {
    this.seen[isBinary ? 'binary' : 'text']++;
    const message = parse(asText(data));
    const type = message.frame?.type;
    if (type === 'CreditUpdate') {
      this.#wake(message);
      return;
    }
    if (this.#options.credits !== false) this.#credit(message.flowId);
    this.#wake(message);
  }

  #wake(message: Json): void {
    for (const waiter of this.#waiters) if (waiter(message)) return;
    this.inbox.push(message);
  }

  #credit(flowId: string | undefined): void {
    if (!flowId || this.isClosed) return;
    const count = (this.#received.get(flowId) ?? 0) + 1;
    if (count >= 16) {
      this.#received.delete(flowId);
      this.raw(
        JSON.stringify({
          version: '1.0',
          id: id(),
          flowId,
          flowFlags: 2,
          frame: { type: 'CreditUpdate', flowId, credits: 32 },
        }),
      );
    } else this.#received.set(flowId, count);
  }
}

/** The nodes of a test file, which `closeAll` closes. */
export class RawNodes {
  readonly #nodes: RawNode[] = [];
  readonly url: () => string;

  constructor(url: () => string) {
    this.url = url;
  }

  async attached(options?: RawOptions): Promise<RawNode> {
    const node = await RawNode.attached(this.url(), options);
    this.#nodes.push(node);
    return node;
  }

  async open(options?: RawOptions): Promise<RawNode> {
    const node = await RawNode.open(this.url(), options);
    this.#nodes.push(node);
    return node;
  }

  /** An attached node that answers every request with its params. */
  async echo(address: string, options?: RawOptions): Promise<RawNode> {
    const node = await this.attached(options);
    await node.serve(address, (request) => node.answer(request, request.frame.payload.params));
    return node;
  }

  async closeAll(): Promise<void> {
    await Promise.all(this.#nodes.splice(0).map((node) => node.cut()));
  }
}
