// Reads one streamed reply to its end and pushes its parts to callbacks as they arrive. There is no queue between a chunk and
// its reader: `reply-splitter.ts` parses each chunk synchronously. `splitToolStream` offers the same as two iterables.
import { FabricError } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';
import type { ModelChunk } from '../model.ts';
import { asyncIteratorOf, type Source } from './async-iterator.ts';
import type { ParsedToolCall } from './parse-arguments.ts';
import {
  type ProtocolWarning,
  type Reply,
  type ReplyOptions,
  type ReplySink,
  ReplySplitter,
} from './reply-splitter.ts';
import type { UserTextOptions } from './user-text.ts';

export interface ReadReplyOptions extends UserTextOptions {
  /** Length of the text at which the reply is stopped, with the finish reason `length`. @default none */
  maxTextChars?: number | undefined;
  /** Returns the id of the call at an index of the reply. @default the server's id, made unique */
  callId?: ((index: number) => string) | undefined;
  /** Rejects with its reason and closes the source. */
  signal?: AbortSignal | undefined;
  /** Receives text for the user. The next chunk is read once a promise that it returns has settled. */
  onText?: ((text: string) => Promise<unknown> | undefined) | undefined;
  /** Receives the reasoning before the answer, if the server sends it. */
  onReasoning?: ((text: string) => void) | undefined;
  /** Receives each call as soon as it is complete, in the order of the indexes. */
  onCall?: ((call: ParsedToolCall) => void) | undefined;
  /** Receives faults of the model server that the reply survived. */
  onWarning?: ((warning: ProtocolWarning) => void) | undefined;
}

/** Receives the parts of a reply. An error that it throws ends the reading. */
export interface ReplyReader extends ReplySink {
  /** Called after each chunk; the next one is read once the promise has settled. */
  ready?(): Promise<unknown> | undefined;
  /** Called after the last text and call, at the end of the source. */
  complete?(): void;
  /** Called instead of `complete`, or after it, when the reading fails or is cancelled. */
  fail?(error: unknown): void;
}

/** A reply that is being read. */
export interface Reading {
  /** @throws {STREAM_ENDED} when the source ended without a finish reason; the source's error, or the reason to cancel */
  readonly reply: Promise<Reply>;
  /** Ends the reading with `reason` and closes the source; resolves once the source is closed. */
  cancel(reason: unknown): Promise<void>;
}

/** Starts to read a reply. Aborting `signal` cancels the reading. */
export function startReading(
  source: Source<ModelChunk>,
  reader: ReplyReader,
  options: ReplyOptions,
  signal?: AbortSignal | undefined,
): Reading {
  const { promise: reply, resolve, reject } = Promise.withResolvers<Reply>();
  const splitter = new ReplySplitter(options, reader);
  const iterator = asyncIteratorOf(source);
  let isSettled = false;
  let stopListening = (): void => {};
  const cancel = async (reason: unknown): Promise<void> => {
    if (isSettled) return;
    isSettled = true;
    stopListening();
    reject(reason);
    reader.fail?.(reason);
    try {
      await iterator.return?.();
    } catch {
      // The reader has the reason already.
    }
  };
  const read = async (): Promise<void> => {
    for (;;) {
      let step: IteratorResult<ModelChunk>;
      try {
        step = await iterator.next();
      } catch (error) {
        if (isSettled) return;
        if (splitter.finish === undefined) throw error;
        // The reply was complete; only its connection broke.
        reader.warning({ type: 'protocol_warning', message: 'The source failed after the finish reason' });
        break;
      }
      if (isSettled) return;
      if (step.done) break;
      splitter.push(step.value);
      if (splitter.isFull) {
        // A source that waits for its next chunk would delay the end.
        iterator.return?.().catch(() => {});
        break;
      }
      const pending = reader.ready?.();
      if (pending) await pending;
      if (isSettled) return;
    }
    splitter.sourceEnded();
    reader.complete?.();
    isSettled = true;
    stopListening();
    const whole = splitter.reply();
    if (whole) resolve(whole);
    else reject(new FabricError('STREAM_ENDED', "The model's reply ended without a finish reason"));
  };
  stopListening = onAbort(signal, () => void cancel(signal?.reason));
  if (!isSettled) read().catch(cancel);
  return { reply, cancel };
}

/**
 * Reads a reply to its end. After an abort, or when a callback throws, it closes the source without waiting for it.
 * @throws the errors of `Reading.reply` and of the callbacks
 */
export function readReply(source: AsyncIterable<ModelChunk>, options: ReadReplyOptions = {}): Promise<Reply> {
  const { signal, onText, onReasoning, onCall, onWarning } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  let pending: Promise<unknown> | undefined;
  const reader: ReplyReader = {
    text: ({ text }) => {
      pending = onText?.(text) ?? pending;
    },
    reasoning: (text) => onReasoning?.(text),
    call: (call) => onCall?.(call),
    warning: (warning) => onWarning?.(warning),
    ready: () => {
      const written = pending;
      pending = undefined;
      return written;
    },
  };
  const { toUserKey = null, toUserTools, callId, maxTextChars } = options;
  const settings = { ...REPLY_DEFAULTS, toUserKey, toUserTools, callId, maxTextChars };
  return startReading(source, reader, settings, signal).reply;
}

/** Limits of a reply, and the separator between the texts of its calls. */
export const REPLY_DEFAULTS = Object.freeze({
  separator: '\n',
  choice: 0,
  maxArgumentChars: 262_144,
  maxContentChars: 4_194_304,
  maxCalls: 128,
});
