// The splitter: reads the chunks of a model's answer and offers them as two branches that are read at the same time, the text
// for the user and the tool calls, plus the whole answer at the end. It reads the source at the source's pace and never waits
// for a reader. The taking apart is done by `reply-splitter.ts`.
import { FabricError } from '@fame-fabric/shared';
import type { ModelChunk } from '../model.ts';
import { Channel } from './channel.ts';
import type { ParsedToolCall } from './parse-arguments.ts';
import { type ProtocolWarning, type Reply, ReplySplitter, type UserText } from './reply-splitter.ts';

export type { ArgumentsFault, ParsedToolCall } from './parse-arguments.ts';
export type { ProtocolWarning, Reply, UserText } from './reply-splitter.ts';

export interface SplitOptions {
  /** The argument whose text goes to the user while it arrives; null switches that off. @default 'to_user' */
  toUserKey?: string | null;
  /** Stands between the texts of different calls. @default '\n' */
  separator?: string;
  /** Which of the answer's choices is read. @default 0 */
  choice?: number;
  /** Longest argument text of one call, in characters; a longer one becomes `too_large`. @default 262_144 */
  maxArgumentChars?: number;
  /** Most characters that may wait unread in one branch; then that branch fails with BUFFER_OVERFLOW. @default 1_048_576 */
  maxBufferedChars?: number;
  /** Longest answer text, in characters; a longer answer fails with BUFFER_OVERFLOW. @default 4_194_304 */
  maxContentChars?: number;
  /** Most tool calls of one answer; more fail it with BUFFER_OVERFLOW. @default 128 */
  maxCalls?: number;
  /** Names the call at a place of the reply. @default the server's id, made unique */
  callId?: (index: number) => string;
  /** Ends both branches with its reason and closes the source. */
  signal?: AbortSignal;
  /**
   * Closes what feeds the source; called at most once, and only if the stream is left before its end. Give it when the source
   * is an async generator: `return()` on one waits until its pending read is done. Aborting the request's signal is usual.
   */
  onCancel?: (reason: unknown) => void;
  /** Told of faults of the model server that the answer survived. */
  onWarning?: (warning: ProtocolWarning) => void;
}

/** The two branches of an answer. Each may be read once; leaving both closes the source. */
export interface ToolStream {
  /** Text for the user, as it arrives. Never holds half of a surrogate pair. */
  readonly toUser: AsyncIterable<UserText>;
  /** The tool calls in the order of their places, each as soon as it is complete. */
  readonly toolCalls: AsyncIterable<ParsedToolCall>;
  /**
   * The whole answer, once the source ended. Rejects with the source's error or the abort reason; a rejection that nobody
   * awaits is not reported.
   * @throws {STREAM_ENDED} when the source ended without a finish reason
   */
  readonly done: Promise<Reply>;
  /** Ends both branches with `reason` and closes the source; resolves once the source is closed. */
  cancel(reason?: unknown): Promise<void>;
}

/** Splits the answer of a model. Reading starts at once. */
export function splitToolStream(source: AsyncIterable<ModelChunk>, options: SplitOptions = {}): ToolStream {
  const { signal, onCancel, onWarning } = options;
  const limit = options.maxBufferedChars ?? 1_048_576;
  const leave = (): void => {
    if (toUser.left && toolCalls.left) {
      void cancel(new FabricError('ABORTED', 'Both branches of the stream were left by their readers'));
    }
  };
  const toUser = new Channel<UserText>({ limit, name: 'the text branch', onLeave: leave });
  const toolCalls = new Channel<ParsedToolCall>({ limit, name: 'the tool call branch', onLeave: leave });
  const splitter = new ReplySplitter(
    {
      toUserKey: options.toUserKey === undefined ? 'to_user' : options.toUserKey,
      separator: options.separator ?? '\n',
      choice: options.choice ?? 0,
      maxArgumentChars: options.maxArgumentChars ?? 262_144,
      maxContentChars: options.maxContentChars ?? 4_194_304,
      maxCalls: options.maxCalls ?? 128,
      callId: options.callId,
    },
    {
      text: (item) => toUser.push(item, item.text.length),
      call: (call) => toolCalls.push(call, call.rawArguments.length + 1),
      warning: (warning) => onWarning?.(warning),
    },
  );
  const { promise: done, resolve, reject } = Promise.withResolvers<Reply>();
  // The error also reaches the readers of the branches; `done` alone must not end the process.
  done.catch(() => {});

  let iterator: AsyncIterator<ModelChunk> | undefined;
  let settled = false;
  const settle = (finishUp: () => void): void => {
    settled = true;
    signal?.removeEventListener('abort', onAbort);
    finishUp();
  };
  const failAll = (error: unknown): void => {
    toUser.fail(error);
    toolCalls.fail(error);
    reject(error);
  };
  const closeSource = async (): Promise<void> => {
    try {
      await iterator?.return?.();
    } catch {
      // Whoever left does not care how the source took it; the reason for leaving has been given to the readers.
    }
  };
  const cancel = (reason?: unknown): Promise<void> => {
    if (settled) return Promise.resolve();
    const why = reason ?? new FabricError('ABORTED', 'The stream was cancelled');
    settle(() => failAll(why));
    onCancel?.(why);
    return closeSource();
  };
  const onAbort = (): void => void cancel(signal?.reason);

  /** After the finish reason the answer is whole; only the usage may still come, so the branches need not wait for it. */
  const endBranches = (): void => {
    toUser.end();
    toolCalls.end();
  };
  const finishDone = (): void => {
    const reply = splitter.reply();
    if (reply) resolve(reply);
    else reject(new FabricError('STREAM_ENDED', "The model's answer ended without a finish reason"));
  };
  const pump = async (): Promise<void> => {
    try {
      iterator = source[Symbol.asyncIterator]();
      for (;;) {
        const step = await iterator.next();
        if (settled) return;
        if (step.done) break;
        splitter.push(step.value);
        if (splitter.finish !== undefined) endBranches();
      }
      splitter.sourceEnded();
      endBranches();
      settle(finishDone);
    } catch (error) {
      if (settled) return;
      if (splitter.finish === undefined) {
        settle(() => failAll(error));
        onCancel?.(error);
        await closeSource();
        return;
      }
      // The answer was complete: what broke is only the connection that carried it.
      onWarning?.({ type: 'protocol_warning', message: 'The source failed after the finish reason' });
      settle(finishDone);
    }
  };

  if (signal?.aborted) {
    settle(() => failAll(signal.reason));
  } else {
    signal?.addEventListener('abort', onAbort, { once: true });
    void pump();
  }
  return { toUser, toolCalls, done, cancel };
}
