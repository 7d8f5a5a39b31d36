// In-memory link without a sentinel: bound services can be called at once, and sent messages are recorded. It follows the
// contract of `IncomingCall`, so a service that works here works on a real link.
import {
  type CallOptions,
  type CallTarget,
  type Envelope,
  FabricError,
  type IncomingCall,
  LIMITS,
  makeEnvelope,
  newId,
  type Rights,
  type RpcReply,
  rpcError,
  type Send,
  type Service,
} from '@fame-fabric/shared';
import { callerOf, rpcRefusal } from '@fame-fabric/shared/internal';
import type { AgentLink } from '../agent/agent-types.ts';

export interface FakeCallOptions {
  isStream?: boolean | undefined;
  id?: string | undefined;
  replyTo?: string | undefined;
  /** Principal of the caller. @default 'anonymous' */
  principal?: string | undefined;
  /** True if the sentinel does not state the caller. @default false */
  isUnknown?: boolean | undefined;
  /** Addresses that the caller's principal serves. @default every one */
  serves?: readonly string[] | undefined;
  /** @default every conversation for `local`, else its own ones */
  rights?: Rights | undefined;
  meta?: Record<string, unknown> | undefined;
  signal?: AbortSignal | undefined;
  /** Delays each pushed item until its promise resolves. */
  pace?: (() => Promise<void>) | undefined;
  /** Called when the service acknowledges a durable request. */
  onAcknowledged?: (() => void) | undefined;
  /** Called with each pushed item. */
  onItem?: ((item: unknown) => void) | undefined;
}

/** Outcome of a call: its result, its items, or its error in wire format. */
interface Outcome {
  result?: unknown;
  items: unknown[];
  error?: RpcReply['error'];
  /** True if the error states that nothing was executed. */
  isRefused?: boolean;
  ended: boolean;
}

interface FakeCall {
  readonly done: Promise<Outcome>;
  /** Cancels the call, as a caller does. */
  cancel(reason?: string): void;
}

export class FakeLink implements AgentLink {
  readonly sent: { to: string; payload: unknown; corrId?: string | undefined }[] = [];
  readonly bound = new Map<string, { service: Service; capabilities: readonly string[] }>();

  async bind(
    address: string,
    service: Service,
    options?: { capabilities?: readonly string[] | undefined },
  ): Promise<void> {
    if (this.bound.has(address)) throw new FabricError('ADDRESS_IN_USE', `${address} is bound`);
    this.bound.set(address, { service, capabilities: options?.capabilities ?? [] });
  }

  async unbind(address: string): Promise<void> {
    this.bound.delete(address);
  }

  readonly send: Send = ((to: string, payload: unknown, { corrId }: { corrId?: string } = {}) => {
    this.sent.push({ to, payload, ...(corrId === undefined ? {} : { corrId }) });
    return Promise.resolve();
  }) as Send;

  /** Delivers a message that is not a call. */
  deliver(
    address: string,
    payload: unknown,
    header: Partial<Envelope> = {},
    acknowledge?: () => void,
  ): unknown {
    const envelope: Envelope = makeEnvelope({ type: 'Data', payload }, { to: address, ...header });
    return this.#serviceOf(address).onMessage?.(payload, envelope, acknowledge);
  }

  async call(target: CallTarget, method: string, params?: unknown, o: CallOptions = {}): Promise<unknown> {
    const { error, result } = await this.start(this.#resolve(target), method, params, o).done;
    if (error) throw new FabricError('INTERNAL', error.message, { details: { error } });
    return result;
  }

  async *stream(
    target: CallTarget,
    method: string,
    params?: unknown,
    o: CallOptions = {},
  ): AsyncIterable<unknown> {
    const outcome = await this.start(this.#resolve(target), method, params, { ...o, isStream: true }).done;
    yield* outcome.items;
    if (outcome.error) throw new FabricError('INTERNAL', outcome.error.message);
  }

  /** Makes a call as it arrives from the wire, with `params` in wire format. */
  start(address: string, method: string, params?: unknown, options: FakeCallOptions = {}): FakeCall {
    const controller = new AbortController();
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const outcome: Outcome = { items: [], ended: false };
    const id = options.id ?? newId();
    const finish = (part: Partial<Outcome>): void => {
      if (outcome.ended) return;
      resolve(Object.assign(outcome, part, { ended: true }));
    };
    const replyTo = options.replyTo ?? '__rpc__test@/sentinel/client';
    const { principal = 'anonymous' } = options;
    const push = async (item: unknown): Promise<void> => {
      if (item === null || item === undefined) throw new TypeError('An item must not be null');
      if (outcome.ended || controller.signal.aborted) {
        throw new FabricError('CALL_CANCELLED', 'The call is over');
      }
      outcome.items.push(wire(item));
      options.onItem?.(item);
      await options.pace?.();
    };
    const call: IncomingCall = {
      address,
      id,
      method,
      params,
      isStream: options.isStream ?? false,
      replyTo,
      caller: Promise.resolve({
        ...callerOf(
          { id: principal, roles: [], rights: options.rights },
          replyTo.slice(replyTo.indexOf('@') + 1),
        ),
        ...(options.isUnknown ? { isUnknown: true } : {}),
      }),
      callerServes: async (served) => options.serves?.includes(served) ?? true,
      traceId: 'trace',
      meta: options.meta,
      signal: controller.signal,
      reply: async (result) => finish({ result: wire(result) }),
      refuse: (error) => finish({ error: rpcRefusal(id, error).error, isRefused: true }),
      fail: (error, logId) => finish({ error: rpcError(id, error, logId).error }),
      push,
      pushNow: push,
      end: () => finish({}),
      acknowledge: options.onAcknowledged,
    };
    options.signal?.addEventListener('abort', () => controller.abort('caller-gone'), { once: true });
    this.#serviceOf(address).onCall(call);
    return { done: promise, cancel: (reason = 'caller-gone') => controller.abort(reason) };
  }

  #serviceOf(address: string): Service {
    const bound = this.bound.get(address);
    if (!bound) throw new FabricError('NO_ROUTE', `No agent serves ${address}`);
    return bound.service;
  }

  #resolve(target: CallTarget): string {
    if (typeof target === 'string') return target;
    for (const [address, { capabilities }] of this.bound) {
      if (target.capabilities.every((name) => capabilities.includes(name))) return address;
    }
    throw new FabricError('NO_ROUTE', 'No agent has the capabilities');
  }
}

/** Copies a value as the wire does: through JSON, within the size limit. */
function wire(value: unknown): unknown {
  const text = JSON.stringify(value);
  if (text.length > LIMITS.maxEnvelopeBytes)
    throw new FabricError('MESSAGE_TOO_LARGE', 'The result is too large');
  return JSON.parse(text);
}
