// Scripted `ChatModel` for tests. It answers each request with the first unused reply that matches, validates every request as
// the OpenAI API would, and records it. `done()` at the end of a test proves that the expected requests came, and no others.
import { FabricError } from '@fame-fabric/shared';
import type { ChatModel, ModelChunk, ModelRequest, ModelStreamOptions } from '../model/model.ts';
import { modelStream } from '../model/model-stream.ts';
import { requestBody } from '../model/openai/request-body.ts';
import { ReplyQueue } from './reply-queue.ts';
import { play, type Scripted } from './script.ts';
import { checkTranscript, type Violation } from './transcript-validator.ts';

/** One request and the state of its stream. */
export interface ScriptedRequest {
  /** A deep copy, independent of later changes to the caller's messages. */
  readonly request: ModelRequest;
  /** Number of chunks that were read. */
  chunks: number;
  state: 'streaming' | 'ended' | 'failed' | 'aborted' | 'left';
}

export interface ScriptedModelOptions {
  /** @default scripted */
  name?: string | undefined;
}

export class ScriptedModel implements ChatModel {
  readonly name: string;
  readonly #replies = new ReplyQueue();
  readonly #calls: ScriptedRequest[] = [];

  constructor(replies: readonly Scripted[] = [], options: ScriptedModelOptions = {}) {
    this.name = options.name ?? 'scripted';
    this.push(...replies);
  }

  /** Appends replies. */
  push(...replies: readonly Scripted[]): void {
    this.#replies.push(...replies);
  }

  /** Every request so far, in order of arrival. */
  get calls(): readonly ScriptedRequest[] {
    return this.#calls;
  }

  /** The requests, without the states of their streams. */
  get requests(): readonly ModelRequest[] {
    return this.#calls.map((call) => call.request);
  }

  /** Number of requests so far. */
  get count(): number {
    return this.#calls.length;
  }

  get violations(): readonly Violation[] {
    return this.#replies.violations;
  }

  stream(request: ModelRequest, { signal, onWait }: ModelStreamOptions = {}): AsyncIterable<ModelChunk> {
    return modelStream(signal, (inner) => this.#answer(request, inner, onWait));
  }

  async *#answer(
    original: ModelRequest,
    signal: AbortSignal,
    onWait: ModelStreamOptions['onWait'],
  ): AsyncGenerator<ModelChunk, void> {
    signal.throwIfAborted();
    const request = structuredClone(original);
    const call: ScriptedRequest = { request, chunks: 0, state: 'streaming' };
    this.#calls.push(call);
    try {
      this.#check(request);
      const script = this.#replies.take(request, this.count - 1);
      if (!script) throw new Error(`Scripted model: ${this.#replies.unexpected(request, this.count - 1)}.`);
      for await (const step of play(script, signal)) {
        if ('fail' in step) throw step.fail;
        if ('disconnect' in step) throw new FabricError('MODEL_UNAVAILABLE', 'The script cut the stream.');
        if ('bytes' in step) throw new Error('A script with raw bytes needs the fake OpenAI server.');
        if ('retry' in step) {
          onWait?.(step.retry);
          continue;
        }
        call.chunks += 1;
        yield step.chunk;
        signal.throwIfAborted();
      }
      call.state = 'ended';
    } catch (error) {
      call.state = signal.aborted ? 'aborted' : 'failed';
      throw error;
    } finally {
      if (call.state === 'streaming') call.state = 'left';
    }
  }

  #check(request: ModelRequest): void {
    // As the client of a server would send them.
    const { stream_options: _, ...body } = requestBody(request, this.name, new Set());
    const found = checkTranscript(body);
    this.#replies.violations.push(...found);
    if (found[0]) throw new FabricError('MODEL_REFUSED', `A strict server would refuse: ${found[0].message}`);
  }

  /** Throws if a request was invalid for the OpenAI API. */
  assertValid(): void {
    this.#replies.assertValid();
  }

  /** Throws if a request was invalid or unexpected, or a reply was not used. */
  done(): void {
    this.#replies.done(this.count);
  }
}

/** A scripted model with these replies. */
export const scriptedModel = (replies: readonly Scripted[], options?: ScriptedModelOptions): ScriptedModel =>
  new ScriptedModel(replies, options);
