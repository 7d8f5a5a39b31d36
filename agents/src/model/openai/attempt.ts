// One request to a model server, and the chunks of its answer. Closes the HTTP request as soon as it fails, is aborted or closed.
import { type Clock, FabricError } from '@fame-fabric/shared';
import { onAbort, timeText } from '@fame-fabric/shared/internal';
import type { ModelChunk } from '../model.ts';
import { CompletionBody } from './completion-body.ts';
import { SilenceTimer } from './silence-timer.ts';

/** Longest wait for the usage report after the finish reason, and for the end of the body after that. */
const TRAILER_TIMEOUT_MS = 2_000;

export interface AttemptOptions {
  /** Sends the request. Aborting `signal` closes its connection. */
  readonly send: (signal: AbortSignal) => Promise<Response>;
  /** The server's URL without credentials, for errors. */
  readonly url: string;
  /** Longest wait for the first chunk, and between two chunks. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Converts an error after the first chunk. Earlier ones are thrown as they are. */
  readonly failureOf: (thrown: unknown) => unknown;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class Attempt implements AsyncIterator<ModelChunk, void> {
  readonly #options: AttemptOptions;
  readonly #signal: AbortSignal;
  readonly #connection = new AbortController();
  readonly #stopListening: () => void;
  readonly #silence: SilenceTimer;
  #phase: 'sent' | 'answering' | 'finished' = 'sent';
  #hasFinish = false;
  #isSilent = false;
  #body: CompletionBody | undefined;
  /** Chunks of the last read, and the number of those that were returned. */
  #chunks: readonly ModelChunk[] = [];
  #returned = 0;
  #isClosed = false;

  constructor(options: AttemptOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#stopListening = onAbort(signal, () => this.#connection.abort(signal.reason));
    this.#silence = new SilenceTimer(options.clock, () => {
      this.#isSilent = true;
      this.#connection.abort();
    });
  }

  /**
   * Returns the next chunk. The first call sends the request. Call it again after it settled.
   * @throws the reason of the signal; MODEL_TIMEOUT for a silent server; before the first chunk, errors of the network and the server
   * as they are
   */
  async next(): Promise<IteratorResult<ModelChunk, void>> {
    try {
      this.#checkAborted();
      while (this.#returned === this.#chunks.length) {
        if (await this.#read()) continue;
        this.close();
        return DONE;
      }
      const value = this.#chunks[this.#returned++]!;
      this.#follow(value);
      return { done: false, value };
    } catch (error) {
      this.close();
      this.#checkAborted();
      // A finished answer stays valid when its connection breaks afterwards.
      if (this.#phase === 'finished') return DONE;
      throw this.#phase === 'sent' ? error : this.#options.failureOf(error);
    }
  }

  /** Returns the connection if the answer is complete, and closes it otherwise. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#silence.stop();
    this.#stopListening();
    if (this.#body?.complete) this.#body.readToEnd(this.#options.clock, TRAILER_TIMEOUT_MS, this.#connection);
    else this.#connection.abort();
  }

  /** Reads until something arrives, which may have no chunk: servers send comments as heartbeats. Returns false at the end. */
  async #read(): Promise<boolean> {
    this.#awaitServer();
    this.#body ??= new CompletionBody(await this.#options.send(this.#connection.signal));
    const chunks = await this.#body.next();
    if (chunks) {
      this.#silence.received();
      this.#checkAborted();
      this.#chunks = chunks;
      this.#returned = 0;
      return true;
    }
    this.#checkAborted();
    if (this.#phase !== 'finished' && !this.#hasFinish) throw brokenOff(this.#options.url, this.#phase);
    return false;
  }

  #awaitServer(): void {
    const { timeoutMs } = this.#options;
    this.#silence.expect(this.#phase === 'finished' ? Math.min(timeoutMs, TRAILER_TIMEOUT_MS) : timeoutMs);
  }

  #follow(chunk: ModelChunk): void {
    if (this.#phase === 'sent') this.#phase = 'answering';
    for (const { index = 0, delta, finish_reason } of chunk.choices) {
      if (index !== 0) continue;
      if (finish_reason) this.#phase = 'finished';
      // Some servers send a finish reason before the answer.
      else if (this.#phase === 'finished' && (delta.content || delta.refusal || delta.tool_calls))
        this.#phase = 'answering';
      this.#hasFinish ||= this.#phase === 'finished';
    }
  }

  /** Throws the reason of the abort in place of the package's own error for it. */
  #checkAborted(): void {
    this.#signal.throwIfAborted();
    const { url, timeoutMs } = this.#options;
    if (this.#isSilent && this.#phase !== 'finished') throw timedOut(url, timeoutMs, this.#phase);
  }
}

const timedOut = (url: string, timeoutMs: number, phase: 'sent' | 'answering'): FabricError =>
  new FabricError(
    'MODEL_TIMEOUT',
    `The model server at ${url} ${phase === 'sent' ? 'did not answer' : 'stopped in the middle of its answer'} for ${timeText(timeoutMs)}: try again, or raise FAME_MODEL_TIMEOUT_MS.`,
  );

const brokenOff = (url: string, phase: 'sent' | 'answering'): FabricError =>
  new FabricError(
    'MODEL_UNAVAILABLE',
    phase === 'sent'
      ? `The model server at ${url} sent an empty answer: check OPENAI_BASE_URL and the server.`
      : `The model server at ${url} broke off in the middle of its answer: ask again.`,
  );
