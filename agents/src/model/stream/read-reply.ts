// Reads one streamed reply to its end and pushes its parts to callbacks as they arrive. There is no queue between a chunk and
// its reader: `reply-splitter.ts` takes each chunk apart synchronously. `splitToolStream` offers the same as two iterables.
import { FabricError } from '@fame-fabric/shared';
import type { ModelChunk } from '../model.ts';
import type { ParsedToolCall } from './parse-arguments.ts';
import { type ProtocolWarning, type Reply, ReplySplitter } from './reply-splitter.ts';

export interface ReadReplyOptions {
  /** The argument whose text goes to the user while it arrives. @default none */
  toUserKey?: string | null | undefined;
  /** Names the call at a place of the reply. @default the server's id, made unique */
  callId?: ((index: number) => string) | undefined;
  /** Rejects the reading with its reason and closes the source. */
  signal?: AbortSignal | undefined;
  /** Receives text for the user. The next chunk is read once a promise that it returns has settled. */
  onText?: ((text: string) => Promise<unknown> | undefined) | undefined;
  /** Receives each call, in the order of their places, as soon as it is complete. */
  onCall?: ((call: ParsedToolCall) => void) | undefined;
  /** Receives faults of the model server that the reply survived. */
  onWarning?: ((warning: ProtocolWarning) => void) | undefined;
}

/**
 * Reads a reply. After an abort or a throwing callback the source is closed and not waited for.
 * @throws {STREAM_ENDED} when the source ended without a finish reason
 * @throws the source's error, the abort reason, or what a callback throws
 */
export function readReply(source: AsyncIterable<ModelChunk>, options: ReadReplyOptions = {}): Promise<Reply> {
  const { signal, onText, onCall, onWarning } = options;
  if (signal?.aborted) return Promise.reject(signal.reason);
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  let pending: Promise<unknown> | undefined;
  const splitter = new ReplySplitter(
    {
      toUserKey: options.toUserKey ?? null,
      separator: '\n',
      choice: 0,
      maxArgumentChars: 262_144,
      maxContentChars: 4_194_304,
      maxCalls: 128,
      callId: options.callId,
    },
    {
      text: ({ text }) => {
        pending = onText?.(text) ?? pending;
      },
      call: (call) => onCall?.(call),
      warning: (warning) => onWarning?.(warning),
    },
  );
  const iterator = source[Symbol.asyncIterator]();
  let isOver = false;
  const end = (): void => {
    isOver = true;
    signal?.removeEventListener('abort', onAbort);
  };
  const fail = (error: unknown): void => {
    end();
    reject(error);
    // Not awaited: `return()` on a generator waits for its pending read.
    iterator.return?.().then(undefined, () => {});
  };
  const onAbort = (): void => fail(signal?.reason);
  const pump = async (): Promise<void> => {
    for (;;) {
      let step: IteratorResult<ModelChunk>;
      try {
        step = await iterator.next();
      } catch (error) {
        // A reply with a finish reason is complete; only its connection broke.
        if (splitter.finish === undefined || isOver) throw error;
        onWarning?.({ type: 'protocol_warning', message: 'The source failed after the finish reason' });
        break;
      }
      if (isOver) return;
      if (step.done) break;
      splitter.push(step.value);
      if (pending) {
        const written = pending;
        pending = undefined;
        await written;
        if (isOver) return;
      }
    }
    splitter.sourceEnded();
    const reply = splitter.reply();
    if (!reply)
      throw new FabricError('STREAM_ENDED', 'The reply of the model ended without a finish reason.');
    end();
    resolve(reply);
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  pump().catch((error: unknown) => {
    if (!isOver) fail(error);
  });
  return promise;
}
