// A node's end of its connection to a sentinel: attach, bind, send, call, stream, drain, close. This file holds the wiring and
// the states. Incoming messages go through `receiver.ts`, outgoing calls are in `calls.ts`, incoming calls in `serving.ts`,
// addresses in `bindings.ts` and `binder.ts`, credits in `neighbor.ts`, and connecting in `dialer.ts`.
import { type Principal, readPrincipal } from '../access/principal.ts';
import { onAbort } from '../async/abort.ts';
import { type Clock, systemClock, type Timer } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import { type Logger, silentLog } from '../log.ts';
import { type Envelope, makeEnvelope, type NodeAttach, type NodeAttachAck } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { Binder } from './binder.ts';
import { Bindings } from './bindings.ts';
import { CallIterator } from './call-iterator.ts';
import { Callers } from './callers.ts';
import { Calls, FOREIGN_MAX_IN_FLIGHT } from './calls.ts';
import {
  BYTE_CREDIT_CAPABILITY,
  isOwnSoftware,
  NODE_CAPABILITIES,
  PAIR_FLOWS_CAPABILITY,
} from './capabilities.ts';
import { Control } from './control.ts';
import { Deliveries } from './deliveries.ts';
import { Dialer } from './dialer.ts';
import { Heartbeat } from './heartbeat.ts';
import type {
  AcknowledgedSendOptions,
  BindOptions,
  CallOptions,
  CallTarget,
  LinkOptions,
  LinkState,
  Send,
  SendOptions,
  Service,
} from './link-types.ts';
import { loopTransport } from './memory-transport.ts';
import { Messages } from './messages.ts';
import { Neighbor } from './neighbor.ts';
import { NodeIdentity } from './node-identity.ts';
import { Receiver } from './receiver.ts';
import { Serving } from './serving.ts';
import { TokenRenewal } from './token-renewal.ts';
import type { Transport } from './transport.ts';
import { Verifier } from './verifier.ts';

/** Time limit for the peer's answer to a close, in ms. */
const CLOSE_TIMEOUT_MS = 2_000;

/**
 * Longest delay between attempts of a link that serves addresses: its callers wait for it. A link that only calls waits
 * longer, because thousands of them may return to one sentinel at once.
 */
export const SERVING_BACKOFF_MAX_MS = 2_000;
const BACKOFF_MAX_MS = 10_000;
/** Grants of credit by bytes that one flow may have in flight. */
const BYTE_WINDOW_GRANTS = 4;

/** A node's connection to a sentinel, which survives reconnects. */
export class Link {
  readonly systemId: string;
  readonly #instanceId = newId();
  readonly #options: LinkOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #identity: NodeIdentity;
  readonly #uplink: Neighbor;
  readonly #loop: Neighbor;
  readonly #bindings: Bindings;
  readonly #control: Control;
  readonly #binder: Binder;
  readonly #calls: Calls;
  readonly #deliveries: Deliveries;
  readonly #messages: Messages;
  readonly #callers: Callers;
  readonly #serving: Serving;
  readonly #receiver: Receiver;
  readonly #verifier: Verifier | undefined;
  readonly #heartbeat: Heartbeat;
  readonly #dialer: Dialer;
  readonly #renewal: TokenRenewal;
  readonly #stateListeners = new Set<(state: LinkState) => void>();
  #state: LinkState = 'idle';
  #connecting: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #dialing: AbortController | undefined;
  #resumeToken: string | undefined;
  #attachWaiters: { resolve: () => void; reject: (error: unknown) => void }[] = [];

  constructor(options: LinkOptions) {
    const { clock = systemClock, log = silentLog, signatures, trace } = options;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.systemId = options.systemId ?? newId();
    this.#resumeToken = options.resumeToken;
    this.#identity = new NodeIdentity(options.sidOf);
    const later = (fn: () => void): void => void clock.after(0, fn);
    const sign = signatures && ((envelope: Envelope) => signatures.sign(envelope, this.#identity.path));
    this.#uplink = new Neighbor(this.#identity.flowId, trace, options.queueBytes, later, sign);
    this.#loop = new Neighbor(this.#identity.flowId, trace, options.queueBytes, later);
    this.#bindings = new Bindings(this.#identity);
    this.#control = new Control({ clock, neighbor: this.#uplink, identity: this.#identity });
    this.#deliveries = new Deliveries(clock);
    const deliveries = options.deliveryProfile === 'at-least-once' ? this.#deliveries : undefined;
    this.#callers = new Callers({
      control: this.#control,
      uplink: this.#uplink,
      nextAttach: () => this.#nextAttach(),
    });
    this.#serving = new Serving({
      clock,
      identity: this.#identity,
      bindings: this.#bindings,
      log,
      deliveries,
      callers: this.#callers,
    });
    this.#calls = new Calls({
      clock,
      identity: this.#identity,
      uplink: this.#uplink,
      loop: this.#loop,
      isLocal: (target) => this.#isLocal(target),
      deliveries,
    });
    this.#messages = new Messages({
      identity: this.#identity,
      deliveries: this.#deliveries,
      neighborOf: (target) => (this.#isLocal(target) ? this.#loop : this.#uplink),
    });
    this.#verifier =
      signatures && new Verifier({ clock, log, signatures, requestKey: (kid) => this.#requestKey(kid) });
    this.#receiver = new Receiver({
      clock,
      log,
      trace,
      callers: this.#callers,
      calls: this.#calls,
      serving: this.#serving,
      control: this.#control,
      deliveries: this.#deliveries,
      verifier: this.#verifier,
    });
    this.#binder = new Binder({
      clock,
      log,
      identity: this.#identity,
      bindings: this.#bindings,
      control: this.#control,
      isAttached: () => this.#uplink.isAttached,
      nextAttach: () => this.#nextAttach(),
    });
    this.#heartbeat = new Heartbeat(
      {
        clock,
        beat: () => {
          this.#uplink.removeIdleFlows();
          this.#uplink.sendControl(
            makeEnvelope({ type: 'NodeHeartbeat' }, this.#identity.header({ corrId: newId() })),
          );
        },
        onSilence: (silentMs) => this.#onSilence(silentMs),
      },
      { intervalMs: options.heartbeatMs ?? 15_000, silentAfterMs: options.silentAfterMs ?? 30_000 },
    );
    this.#dialer = new Dialer(
      {
        dial: options.dial,
        clock,
        log,
        trace,
        makeAttach: () => this.#makeAttach(),
        onAttached: (transport, ack) => this.#onAttached(transport, ack),
        onFailed: options.onAttachFailed,
      },
      {
        url: attachUrl(options.url, this.systemId),
        otherUrls: options.otherUrls?.map((url) => attachUrl(url, this.systemId)),
        token: options.token,
        backoffMinMs: options.backoffMinMs,
        backoffMaxMs: () =>
          options.backoffMaxMs ?? (this.#bindings.size > 0 ? SERVING_BACKOFF_MAX_MS : BACKOFF_MAX_MS),
      },
    );
    this.#renewal = new TokenRenewal({
      clock,
      log,
      token: options.token,
      send: (authorization) => this.#sendRenewal(authorization),
    });
    this.#openLoop();
  }

  get state(): LinkState {
    return this.#state;
  }

  /** The path that the sentinel assigned. Empty before the first attach. */
  get path(): string {
    return this.#identity.path;
  }

  /** The principal of this node, from the sentinel. Undefined before the first attach, and at sentinels of other software. */
  get principal(): Principal | undefined {
    return this.#callers.own;
  }

  /** Sizes of all tables and queues, for diagnostics. */
  get counts(): Readonly<Record<string, number>> {
    return {
      calls: this.#calls.size,
      serving: this.#serving.size,
      addresses: this.#bindings.size,
      waiting: this.#uplink.waitingCount + this.#loop.waitingCount,
      waitingBytes: this.#uplink.waitingBytes + this.#loop.waitingBytes,
      held: this.#uplink.heldCount + this.#loop.heldCount,
      flowsSent: this.#uplink.flowCount + this.#loop.flowCount,
      pairFlows: this.#uplink.pairCount,
      flowsReceived: this.#uplink.received.size + this.#loop.received.size,
      control: this.#control.size,
      unverified: this.#verifier?.waitingCount ?? 0,
      unacknowledged: this.#deliveries.size,
      stateListeners: this.#stateListeners.size,
    };
  }

  /** Calls `listener` after each change of state. Returns a function that removes it. */
  onState(listener: (state: LinkState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /**
   * Attaches, and retries for up to `connectTimeoutMs`. From then on the link reconnects by itself until it is closed.
   * @throws {LINK_TIMEOUT} when no sentinel answered
   * @throws {LINK_REFUSED | AUTH_MISSING | AUTH_INVALID | AUTH_FORBIDDEN} when the sentinel refused; `connect` may be called again then
   * @throws {LINK_CLOSED} when the link is closed
   * @throws the reason of `signal` when that aborts
   */
  connect({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#state === 'idle') this.#connecting = this.#connectFirst(signal);
    if (this.#state === 'closed') return Promise.reject(closedError());
    if (this.#uplink.isAttached) return Promise.resolve();
    return this.#state === 'connecting' ? this.#connecting! : this.#nextAttach();
  }

  async #connectFirst(signal: AbortSignal | undefined): Promise<void> {
    this.#setState('connecting');
    const dialing = new AbortController();
    this.#dialing = dialing;
    const stopListening = onAbort(signal, () => dialing.abort(signal?.reason));
    try {
      await this.#dialer.attach(this.#options.connectTimeoutMs ?? 30_000, dialing.signal);
    } catch (error) {
      if (this.#state === 'connecting') this.#setState('idle');
      this.#endAttachWaiters(error);
      throw error;
    } finally {
      stopListening();
      // The connection may have been lost already, and a reconnect may be running.
      if (this.#dialing === dialing) this.#dialing = undefined;
    }
  }

  #makeAttach(): Envelope<NodeAttach> {
    return makeEnvelope<NodeAttach>(
      {
        type: 'NodeAttach',
        originType: 'downstream',
        systemId: this.systemId,
        instanceId: this.#instanceId,
        acceptedLogicals: [...(this.#options.acceptedLogicals ?? ['fame.fabric'])],
        capabilities: [...NODE_CAPABILITIES, PAIR_FLOWS_CAPABILITY, BYTE_CREDIT_CAPABILITY],
        keys: this.#options.signatures?.keys,
        resumeToken: this.#resumeToken,
      },
      this.#identity.header({ traceId: newId(), corrId: newId() }),
    );
  }

  // The sentinel reads the token only: the connection is attached already.
  async #sendRenewal(authorization: string): Promise<NodeAttachAck> {
    const { frame } = this.#makeAttach();
    const ack = await this.#control.request({ ...frame, resumeToken: undefined, authorization });
    return ack as NodeAttachAck;
  }

  #onAttached(transport: Transport, ack: NodeAttachAck): void {
    this.#verifier?.adopt(ack.keys, ack.targetPhysicalPath ?? '');
    const isOwn = isOwnSoftware(ack.software);
    const previousPath = this.#identity.path;
    const path = ack.assignedPath!;
    const isSessionLost = previousPath !== '' && (previousPath !== path || ack.resumed === false);
    this.#identity.adopt(path);
    this.#callers.attached(readPrincipal(ack.principal));
    this.#uplink.mayWithholdCredit = isOwn;
    this.#uplink.hasPairFlows = isOwn;
    this.#uplink.byteWindow = BYTE_WINDOW_GRANTS * (ack.creditBytes ?? Number.POSITIVE_INFINITY);
    this.#calls.maxInFlight = isOwn ? (ack.maxOpenCalls ?? Number.POSITIVE_INFINITY) : FOREIGN_MAX_IN_FLIGHT;
    this.#uplink.received.grantAfter = isOwn ? LIMITS.creditReturnAfter : 1;
    transport.onMessage = (bytes) => {
      this.#heartbeat.received();
      this.#receiver.onMessage(this.#uplink, bytes);
    };
    transport.onClose = (code, reason) => this.#onClose(transport, code, reason);
    this.#uplink.attach(transport);
    if (isSessionLost) this.#serving.abandonAll(this.#uplink);
    if (previousPath !== '' && previousPath !== path) this.#pathChanged(previousPath, path);
    if (this.#state !== 'draining') this.#setState('attached');
    this.#heartbeat.start();
    this.#renewal.start(ack.expiresInMs);
    if (previousPath === '') this.#log.debug('attached', { path, systemId: this.systemId });
    else this.#log.info('reattached', { path, systemId: this.systemId });
    const waiters = this.#attachWaiters;
    this.#attachWaiters = [];
    void this.#binder.attached();
    this.#calls.reattached(isSessionLost);
    this.#uplink.flush();
    this.#calls.pump();
    for (const { resolve } of waiters) resolve();
    if (ack.resumeToken === undefined) return;
    this.#resumeToken = ack.resumeToken;
    this.#options.onResumeToken?.(ack.resumeToken);
  }

  #requestKey(kid: string): void {
    const { path } = this.#identity;
    this.#uplink.sendControl(
      makeEnvelope(
        { type: 'KeyRequest', kid, physicalPath: path },
        this.#identity.header({ traceId: newId(), corrId: newId() }),
      ),
    );
  }

  // Answers to the previous path can no longer arrive.
  #pathChanged(previousPath: string, path: string): void {
    this.#serving.cancelAll('caller-gone', this.#uplink);
    const dropped = this.#uplink.drop(new FabricError('LINK_CLOSED', 'The sentinel restarted'));
    this.#log.warn('the path of this node changed', { previousPath, path, dropped });
  }

  #onClose(transport: Transport, code: number, reason: string): void {
    if (this.#uplink.transport !== transport) return;
    this.#uplink.detach();
    this.#heartbeat.stop();
    this.#renewal.stop();
    this.#binder.stop();
    this.#control.failAll(new FabricError('LINK_CLOSED', `The connection was lost (close code ${code})`));
    if (this.#state === 'closed') return;
    this.#log.warn('the connection was lost', { code, reason });
    if (this.#state !== 'draining') this.#setState('reconnecting');
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    this.#dialing = new AbortController();
    try {
      await this.#dialer.reattach(this.#dialing.signal);
    } catch (error) {
      // Only `close` aborts it, and `close` has rejected the waiters.
      if (this.#state !== 'closed') throw error;
    }
  }

  #onSilence(silentMs: number): void {
    const { transport } = this.#uplink;
    this.#log.warn('the sentinel is silent', { silentMs });
    if (!transport) return;
    transport.terminate();
    // On a dead network the close event may come late or never.
    this.#onClose(transport, 1006, 'silent');
  }

  #nextAttach(): Promise<void> {
    if (this.#uplink.isAttached) return Promise.resolve();
    if (this.#state === 'closed') return Promise.reject(closedError());
    return new Promise((resolve, reject) => this.#attachWaiters.push({ resolve, reject }));
  }

  #endAttachWaiters(error: unknown): void {
    const waiters = this.#attachWaiters;
    this.#attachWaiters = [];
    for (const { reject } of waiters) reject(error);
  }

  /**
   * Serves `address` until `unbind`, and binds it again after every reconnect. Many nodes may bind the same pool
   * (`w@*.fame.fabric`). An address at this node's own path needs no binding at the sentinel.
   * @throws {ADDRESS_INVALID | ADDRESS_IN_USE | ADDRESS_FORBIDDEN | ADMIT_REFUSED | LINK_TIMEOUT | LINK_CLOSED}
   */
  async bind(address: string, service: Service, options: BindOptions = {}): Promise<void> {
    this.#checkConnected();
    await this.#binder.bind(address, service, options);
  }

  async unbind(address: string): Promise<void> {
    await this.#binder.unbind(address);
  }

  /**
   * Calls an operation and resolves to its result, or to null if it has none. While the connection is lost, the call waits.
   * @throws {CALL_TIMEOUT | NO_ROUTE | NODE_GONE | NODE_BUSY | LINK_CLOSED | LINK_DRAINING | MESSAGE_TOO_LARGE} or the error
   * of the callee
   * @throws the reason of `signal` when that aborts
   */
  call(target: CallTarget, method: string, params?: unknown, options: CallOptions = {}): Promise<unknown> {
    const refusal = this.#refusal();
    return refusal ? Promise.reject(refusal) : this.#calls.call(target, method, params, options);
  }

  /**
   * Calls a streaming operation. The request is sent when the first item is read, and leaving the loop cancels the call.
   * `timeoutMs` applies to each item. The iterator throws the errors of `call`.
   */
  stream(
    target: CallTarget,
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): AsyncIterableIterator<unknown> {
    return new CallIterator(() => {
      this.#checkConnected();
      return this.#calls.stream(target, method, params, options);
    });
  }

  readonly send: Send = ((to, payload, options: SendOptions | AcknowledgedSendOptions = {}) => {
    const refusal = this.#refusal();
    if (options.ack) {
      return refusal ? Promise.reject(refusal) : this.#messages.sendAcknowledged(to, payload, options);
    }
    if (refusal) throw refusal;
    return this.#messages.send(to, payload, options);
  }) as Send;

  #isLocal(target: CallTarget): boolean {
    if (typeof target !== 'string') return false;
    return this.#identity.isOwn(target) || this.#bindings.find(target) !== undefined;
  }

  #refusal(): FabricError | undefined {
    if (this.#state === 'closed') return closedError();
    if (this.#state === 'draining') return new FabricError('LINK_DRAINING', 'The link is draining');
    if (this.#state === 'idle') {
      return new FabricError('LINK_CLOSED', 'The link is not connected: call connect() first');
    }
    return undefined;
  }

  #checkConnected(): void {
    const refusal = this.#refusal();
    if (refusal) throw refusal;
  }

  /**
   * Refuses new calls, unbinds every address and waits up to `timeoutMs` for the calls in flight in both directions. Then
   * closes the link.
   */
  drain(timeoutMs: number): Promise<void> {
    if (this.#state !== 'attached' && this.#state !== 'reconnecting') return this.#draining ?? this.close();
    this.#draining = this.#drain(timeoutMs);
    return this.#draining;
  }

  async #drain(timeoutMs: number): Promise<void> {
    this.#setState('draining');
    this.#serving.isDraining = true;
    this.#binder.withdrawAll();
    let timer: Timer | undefined;
    const timeout = new Promise<void>((resolve) => {
      timer = this.#clock.after(timeoutMs, resolve, { keepAlive: true });
    });
    await Promise.race([this.#whenIdle(), timeout]);
    timer?.stop();
    await this.close();
  }

  async #whenIdle(): Promise<void> {
    await Promise.all([this.#serving.whenIdle(), this.#calls.whenIdle()]);
    await this.#uplink.whenEmpty();
  }

  /** Closes the link at once and permanently. Outgoing calls fail with LINK_CLOSED, and incoming calls are cancelled. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#setState('closed');
    const error = closedError();
    this.#dialing?.abort(error);
    this.#heartbeat.stop();
    this.#renewal.stop();
    this.#binder.stop();
    this.#control.failAll(error);
    this.#verifier?.close();
    this.#endAttachWaiters(error);
    this.#serving.cancelAll('link-closed');
    this.#calls.closeAll(error);
    this.#deliveries.closeAll(error);
    this.#loop.detach();
    const { transport } = this.#uplink;
    this.#uplink.drop(error);
    this.#uplink.detach();
    this.#stateListeners.clear();
    if (transport) await this.#closeTransport(transport);
  }

  #closeTransport(transport: Transport): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(CLOSE_TIMEOUT_MS, () => transport.terminate());
      transport.onMessage = undefined;
      transport.onClose = () => {
        timer.stop();
        resolve();
      };
      transport.close(1000, 'normal closure');
    });
  }

  #openLoop(): void {
    const transport = loopTransport();
    transport.onMessage = (bytes) => this.#receiver.onMessage(this.#loop, bytes);
    this.#loop.mayWithholdCredit = true;
    this.#loop.attach(transport);
  }

  #setState(state: LinkState): void {
    if (this.#state === state) return;
    this.#state = state;
    for (const listener of this.#stateListeners) {
      try {
        listener(state);
      } catch (error) {
        this.#log.error('a state listener threw', { state, error });
      }
    }
  }
}

const closedError = (): FabricError => new FabricError('LINK_CLOSED', 'The link is closed');

/** Appends the system id to the path of the URL, ahead of its query. */
function attachUrl(url: string, systemId: string): string {
  const query = url.indexOf('?');
  const base = (query < 0 ? url : url.slice(0, query)).replace(/\/+$/, '');
  return `${base}/${encodeURIComponent(systemId)}${query < 0 ? '' : url.slice(query)}`;
}
