// One WebSocket of the Responses API.
//
// Invariants: I1 responses run one at a time, in the order of their messages. I2 a response that is not stored is kept until the socket
// closes, or until a response that continues it fails.
import { type FabricError, isFabricError, type Timer } from '@fame-fabric/shared';
import type { WebSocket } from 'ws';
import type { DoorDeps } from '../../door.ts';
import type { Visitor } from '../../fabric/door-fabric.ts';
import { GRACE_MS, readWithGrace } from '../../shared/grace.ts';
import { checkDepth } from '../../shared/json-depth.ts';
import { retryOf } from '../../shared/retry-key.ts';
import { statusOf } from '../../shared/status.ts';
import { errorBody, invalid } from '../openai-error.ts';
import { Continuations } from './continuations.ts';
import { isWithdrawal, RESTARTED, secondsOf } from './create.ts';
import { readCreateRequest } from './create-request.ts';
import { asFabricError, inThisApi } from './param-names.ts';
import { ResponseBuilder, type StreamEvent } from './response-builder.ts';
import { RunningTurn } from './running-turn.ts';
import { errorEvent } from './turn-events.ts';

/** Messages that wait for the response before them. */
const MAX_WAITING = 16;
/** Characters of these messages together. */
const MAX_WAITING_CHARS = 2_097_152;
/** Responses that are not stored and can be continued. */
const MAX_KEPT = 64;
/** Longest life of a connection, from the specification, in ms. */
const MAX_LIFE_MS = 3_600_000;
/** Time without progress after which the connection of a reader is closed, in ms. */
const STALLED_MS = 60_000;
const CLOSE_GOING_AWAY = 1001;
const CLOSE_TOO_MANY = 1008;

export class ResponseSocket {
  readonly #socket: WebSocket;
  readonly #visitor: Visitor;
  readonly #deps: DoorDeps;
  readonly #left = new AbortController();
  readonly #timers: Timer[];
  /** The responses that are not stored, by id. */
  readonly #kept = new Map<string, RunningTurn>();
  /** Messages that wait for the current response. */
  readonly #waiting: (string | undefined)[] = [];
  #isAnswering = false;
  readonly #continuations = new Continuations();
  #isAlive = true;

  constructor(socket: WebSocket, visitor: Visitor, deps: DoorDeps) {
    this.#socket = socket;
    this.#visitor = visitor;
    this.#deps = deps;
    const { clock, options } = deps;
    this.#timers = [
      clock.every(options.heartbeatMs, () => this.#beat()),
      clock.after(MAX_LIFE_MS, () => socket.close(CLOSE_GOING_AWAY, 'The connection is 60 minutes old')),
    ];
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    socket.on('error', () => {}); // `close` follows
    socket.on('message', (data, isBinary) => this.#receive(isBinary ? undefined : String(data)));
    socket.on('close', () => this.#closed());
  }

  /** Ends the connection. */
  close({ message }: FabricError): void {
    this.#socket.close(CLOSE_GOING_AWAY, message);
  }

  #beat(): void {
    if (!this.#isAlive) {
      this.#socket.terminate();
      return;
    }
    this.#isAlive = false;
    this.#socket.ping();
  }

  #closed(): void {
    for (const timer of this.#timers) timer.stop();
    this.#left.abort();
    for (const turn of this.#kept.values()) void turn.dispose();
    this.#kept.clear();
  }

  #receive(text: string | undefined): void {
    const chars = this.#waiting.reduce((sum, one = '') => sum + one.length, text?.length ?? 0);
    if (this.#waiting.length >= MAX_WAITING || chars > MAX_WAITING_CHARS) {
      const text = `More than ${MAX_WAITING} messages or ${MAX_WAITING_CHARS} characters wait`;
      this.#socket.close(CLOSE_TOO_MANY, text);
      return;
    }
    this.#waiting.push(text);
    if (!this.#isAnswering) void this.#answerAll();
  }

  async #answerAll(): Promise<void> {
    this.#isAnswering = true;
    while (this.#waiting.length > 0 && !this.#left.signal.aborted) {
      try {
        await this.#answer(this.#waiting.shift());
      } catch (error) {
        await this.#refuse(inThisApi(error));
      }
    }
    this.#isAnswering = false;
  }

  async #answer(text: string | undefined): Promise<void> {
    const body = bodyOf(text);
    const request = readCreateRequest(body);
    if (request.isBackground) throw invalid('background', 'is not supported on a WebSocket.');
    const retry = retryOf({ headers: {}, principal: this.#visitor.principal, path: '/v1/responses', body });
    const { previousId } = request;
    try {
      const isKept = (id: string): boolean => this.#kept.has(id);
      const turn = await RunningTurn.start(this.#visitor, request, {
        retry,
        now: secondsOf(this.#deps),
        continuations: this.#continuations,
        isKept,
      });
      const hasEnded = await this.#run(turn);
      if (!hasEnded) this.#forget(previousId);
    } catch (error) {
      this.#forget(previousId);
      throw error;
    }
  }

  /** Keeps a response that is not stored, in place of the oldest one if there are too many. */
  #keep(turn: RunningTurn): void {
    this.#kept.set(turn.head.id, turn);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT) this.#forget(oldest);
  }

  /** Removes an unstored response, and its conversation unless another response continues it. */
  #forget(id: string | undefined): void {
    const turn = id === undefined ? undefined : this.#kept.get(id);
    if (!turn) return;
    this.#kept.delete(id!);
    const { conversation } = turn.ref;
    const isUsed = [...this.#kept.values()].some(({ ref }) => ref.conversation === conversation);
    if (!isUsed) void turn.dispose();
  }

  /** Sends the events of a turn. Returns false if it failed. @throws the refusal of the turn */
  async #run(turn: RunningTurn): Promise<boolean> {
    const { clock } = this.#deps;
    let builder: ResponseBuilder | undefined;
    let isWithdrawn = false;
    try {
      await turn.first();
      const begun = new ResponseBuilder(turn.head, turn.ref, { now: () => secondsOf(this.#deps) });
      builder = begun;
      if (!turn.request.isStored) this.#keep(turn);
      await this.#send(begun.begin());
      await readWithGrace(turn.events(), {
        left: this.#left.signal,
        cancel: () => turn.leave(),
        graceMs: GRACE_MS,
        clock,
        onEvent: async (event) => {
          if (isWithdrawn) return;
          isWithdrawn = isWithdrawal(event, begun);
          await this.#send(isWithdrawn ? [socketError(begun.streamError(RESTARTED), 503)] : begun.add(event));
        },
      });
    } catch (error) {
      if (!builder) {
        void turn.dispose();
        throw error;
      }
      await this.#send(builder.add(errorEvent(error)));
    }
    return builder.response.status === 'completed' || builder.response.status === 'incomplete';
  }

  async #refuse(thrown: unknown): Promise<void> {
    const error = asFabricError(thrown);
    if (!isFabricError(thrown)) this.#deps.log.error('a response on a WebSocket failed', { error: thrown });
    const status = statusOf(error);
    await this.#send([{ type: 'error', status, sequence_number: 0, ...errorBody(error, status) }]);
  }

  async #send(events: readonly StreamEvent[]): Promise<void> {
    for (const event of events) {
      if (this.#left.signal.aborted) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const stalled = this.#deps.clock.after(STALLED_MS, () => this.#socket.terminate());
      this.#socket.send(JSON.stringify(event), () => resolve());
      await promise;
      stalled.stop();
    }
  }
}

/** Reads a message as the body of a request. @throws {PARAMS_INVALID | PROTO_TOO_DEEP} */
function bodyOf(text: string | undefined): Readonly<Record<string, unknown>> {
  let message: unknown;
  try {
    message = JSON.parse(text ?? '');
  } catch {
    throw invalid('message', 'must be JSON as a text message.');
  }
  checkDepth(message);
  if (typeof message !== 'object' || message === null || Array.isArray(message)) {
    throw invalid('message', 'must be a JSON object.');
  }
  const { type, ...body } = message as Record<string, unknown>;
  if (type !== 'response.create') throw invalid('type', 'must be response.create.');
  return body;
}

const socketError = (event: StreamEvent, status: number): StreamEvent => ({ ...event, status });
