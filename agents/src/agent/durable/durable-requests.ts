// The inbox of an agent's durable requests, and the path of one: accept, acknowledge, queue, run, record the outcome, answer.
//
// I1  A request is in the store before it is acknowledged.
// I2  Each run is counted in the store before it starts. After three runs without an outcome the request is dead.
// I3  An outcome is in the store before any caller receives it. The first one counts, and no run starts after it.
// I4  Only the writer that holds a request runs it; the store refuses the outcome of one that has lost it.
import { createHash } from 'node:crypto';
import {
  type Envelope,
  FabricError,
  type IncomingCall,
  isFabricError,
  LIMITS,
  newId,
  type Timer,
} from '@fame-fabric/shared';
import { ANONYMOUS, cutText, timeoutOf } from '@fame-fabric/shared/internal';
import type { AcceptedRequest, SealedText } from '../../store/agent-store.ts';
import { suffixedId } from '../../store/stored-id.ts';
import { identifiedCaller } from '../identified-caller.ts';
import { ListeningCall, ListeningMessage } from './answers.ts';
import type { AnswerTo, Prepared } from './live-request.ts';
import { RequestRuns, type RunsDeps } from './request-runs.ts';

/** Interval of the search for requests of ended processes. */
const ADOPT_MS = 5_000;
/** Longest id, of a call or of an envelope with its sender. */
const MAX_ID_BYTES = 2 * LIMITS.maxIdBytes;
/** Limits of the inbox of one agent in the store, ended requests included. */
const MAX_REQUESTS = 100_000;
const MAX_CHARS = 67_108_864;
const MAX_ADOPTED = 256;

export interface DurableDeps extends RunsDeps {
  /** Limit of waiting requests. */
  readonly maxWaiting: number;
  /** Returns the function of a stored request; the method of a message is empty. @throws {METHOD_NOT_FOUND | PARAMS_INVALID} */
  prepare(method: string, params: unknown): Prepared;
}

interface NewRequest {
  readonly id: string;
  readonly principal: string;
  readonly method: string;
  readonly params: unknown;
  /** The part of the parameters that a repeated request must have too. */
  readonly compared: unknown;
  readonly answerTo: AnswerTo;
  readonly timeoutMs: number | undefined;
}

export class DurableRequests {
  readonly #deps: DurableDeps;
  readonly #runs: RequestRuns;
  #accepting = 0;
  #adopting: Promise<void> | undefined;
  #ticks: Timer | undefined;
  #isStopping = false;
  #isClosed = false;

  constructor(deps: DurableDeps) {
    this.#deps = deps;
    this.#runs = new RequestRuns(deps);
  }

  /** Queues the requests that earlier processes left, and those of other processes that end later. @throws {STORE_UNAVAILABLE} */
  async open(): Promise<void> {
    await this.#adopt();
    this.#ticks = this.#deps.clock.every(ADOPT_MS, () => {
      this.#adopting ??= this.#adopt()
        .catch((error: unknown) => this.#deps.log.warn('cannot look for open requests', { error }))
        .finally(() => {
          this.#adopting = undefined;
        });
    });
  }

  /** Accepts a call, or answers it from the store. Never throws. */
  async onCall(call: IncomingCall, prepared: Prepared): Promise<void> {
    const { id, method, params, replyTo, traceId, ttl, meta } = call;
    try {
      await this.#counted(async () => {
        const { principal } = await identifiedCaller(call);
        const caller = await call.caller;
        const accepted = await this.#accept({
          id: id === '' ? newId() : storedId(id, this.#deps.agent, principal),
          principal,
          method,
          params,
          compared: params ?? null,
          answerTo: { replyTo, corrId: id, traceId, ttl, meta, caller },
          timeoutMs: timeoutOf(meta),
        });
        call.acknowledge?.();
        const listener = new ListeningCall(call);
        if (!this.#isLive(accepted)) {
          listener.onOutcome(this.#runs.outcomeOf(accepted.request));
          return;
        }
        const live = this.#runs.queue(accepted.request, () => prepared);
        this.#runs.listen(live, listener, call.signal);
      });
    } catch (error) {
      this.#refuse(call, error);
    }
  }

  /** Accepts a message, and returns the result of its handler. `acknowledge` is called when the message is in the store. */
  async onMessage(
    payload: unknown,
    envelope: Envelope,
    prepared: Prepared,
    acknowledge: (() => void) | undefined,
  ): Promise<unknown> {
    const { frame: _, ...header } = envelope;
    const { id, replyTo = '', corrId = '', traceId, ttl } = envelope;
    const listener = await this.#counted(async () => {
      const accepted = await this.#accept({
        // Ids of envelopes are unique per sender only.
        id: `${replyTo} ${id === '' ? newId() : id}`,
        principal: '',
        method: '',
        params: { payload, header },
        compared: payload,
        answerTo: { replyTo, corrId, isMessage: true, traceId, ttl },
        timeoutMs: undefined,
      });
      acknowledge?.();
      const one = new ListeningMessage();
      if (this.#isLive(accepted)) this.#runs.queue(accepted.request, () => prepared).listeners.add(one);
      else one.onOutcome(this.#runs.outcomeOf(accepted.request));
      return one;
    });
    return listener.result;
  }

  /** Starts no more runs, and resolves when those that run have ended. Requests that wait stay in the store. */
  async drain(): Promise<void> {
    this.#stop();
    await this.#runs.idle();
  }

  /** Interrupts the requests that run, and leaves all of them to the next process. */
  close(): Promise<void> {
    this.#stop();
    this.#isClosed = true;
    return this.#runs.close();
  }

  #stop(): void {
    this.#ticks?.stop();
    this.#runs.stop();
    this.#isStopping = true;
  }

  async #counted<T>(accept: () => Promise<T>): Promise<T> {
    const { agent, maxConcurrent, maxWaiting } = this.#deps;
    if (this.#runs.size + this.#accepting >= maxConcurrent + maxWaiting) {
      throw new FabricError('NODE_BUSY', `${agent} has too many open requests; send again later`);
    }
    this.#accepting += 1;
    try {
      return await accept();
    } finally {
      this.#accepting -= 1;
    }
  }

  async #accept(given: NewRequest): Promise<AcceptedRequest> {
    const { id, principal, method, params, compared, answerTo, timeoutMs } = given;
    if (Buffer.byteLength(id) > MAX_ID_BYTES)
      throw new FabricError(
        'REQUEST_INVALID',
        `The id of a durable request has at most ${MAX_ID_BYTES} bytes`,
      );
    const { store, agent, keys, clock } = this.#deps;
    const digest = createHash('sha256')
      .update(JSON.stringify([method, compared]))
      .digest('base64url');
    const accepted = await store.acceptRequest({
      agent,
      id,
      principal,
      method,
      digest,
      params: keys.seal(JSON.stringify(params ?? null), { agent, kind: 'params', key: id }),
      answerTo: JSON.stringify(answerTo),
      deadlineAt: timeoutMs === undefined ? 0 : clock.now() + timeoutMs,
      maxRequests: MAX_REQUESTS,
      maxChars: MAX_CHARS,
    });
    if (this.#isClosed) throw new FabricError('NODE_GONE', `${agent} was stopped`);
    const { request, hold, isNew } = accepted;
    if (isNew) return accepted;
    if (request.digest !== digest || request.principal !== principal) {
      throw new FabricError(
        'REQUEST_CONFLICT',
        `There is a request with the id "${cutText(id, 64)}" with other parameters`,
      );
    }
    // The link of the caller repeats the request until the other process has recorded its outcome.
    if (request.state === 'open' && hold === 'elsewhere')
      throw new FabricError('NODE_BUSY', 'Another process of this agent runs the request');
    return accepted;
  }

  #isLive({ request }: AcceptedRequest): boolean {
    return request.state === 'open';
  }

  async #adopt(): Promise<void> {
    const { store, agent, keys, log, maxConcurrent, maxWaiting, prepare } = this.#deps;
    for (;;) {
      const room = maxConcurrent + maxWaiting - this.#runs.size;
      if (room <= 0 || this.#isStopping) return;
      const found = await store.adoptRequests(agent, Math.min(room, MAX_ADOPTED));
      if (found.length === 0) return;
      log.info('unfinished requests found', { requests: found.length });
      for (const request of found) {
        const open = (text: SealedText): unknown =>
          JSON.parse(keys.open(text, { agent, kind: 'params', key: request.id }));
        this.#runs.queue(request, () => {
          try {
            return prepare(request.method, open(request.params));
          } catch (error) {
            // A later version of the agent may know the operation again.
            return {
              key: undefined,
              run: () => Promise.reject(new Error('cannot be prepared', { cause: error })),
            };
          }
        });
      }
    }
  }

  #refuse(call: IncomingCall, error: unknown): void {
    if (isFabricError(error)) {
      call.refuse(error);
      return;
    }
    const logId = newId();
    this.#deps.log.error('cannot accept a durable request', { logId, callId: call.id, error });
    call.fail(error, logId);
  }
}

const SUFFIXED = /~[0-9a-f]{32}$/;

/** The id in the store of a request, which no other principal can choose. Without a credential it is mostly the id itself. */
const storedId = (id: string, agent: string, principal: string): string =>
  principal === ANONYMOUS.id && !SUFFIXED.test(id) ? id : suffixedId(id, agent, principal);
