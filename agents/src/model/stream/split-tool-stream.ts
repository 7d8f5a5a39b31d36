// The splitter: divides the chunks of a model's reply into two branches that are read side by side, the text for the user and
// the tool calls, and collects the whole reply. It reads at the pace of the source and never waits for a reader.
// `reply-splitter.ts` has the parsing, without time and streams.
import { FabricError } from '@fame-fabric/shared';
import { Channel } from '@fame-fabric/shared/internal';
import type { ModelChunk } from '../model.ts';
import type { Source } from './async-iterator.ts';
import type { ParsedToolCall } from './parse-arguments.ts';
import { REPLY_DEFAULTS, type ReplyReader, startReading } from './read-reply.ts';
import type { ProtocolWarning, Reply, UserText } from './reply-splitter.ts';

export type { ParsedToolCall } from './parse-arguments.ts';
export type { UserText } from './reply-splitter.ts';

export interface SplitOptions {
  /** The argument whose text is streamed to the user; null for none. @default 'to_user' */
  toUserKey?: string | null | undefined;
  /** Tools that have this argument; that of others is left alone. @default all tools */
  toUserTools?: ReadonlySet<string> | undefined;
  /** Separates the texts of different calls. @default '\n' */
  separator?: string | undefined;
  /** Index of the choice that is read. @default 0 */
  choice?: number | undefined;
  /** Longest argument text of one call, in characters; a longer one becomes `too_large`. @default 262_144 */
  maxArgumentChars?: number | undefined;
  /** Maximum unread characters of one branch; beyond it the branch fails with BUFFER_OVERFLOW. @default 1_048_576 */
  maxBufferedChars?: number | undefined;
  /** Longest reply text, in characters; a longer reply fails with BUFFER_OVERFLOW. @default 4_194_304 */
  maxContentChars?: number | undefined;
  /** Maximum tool calls of one reply; more fail it with BUFFER_OVERFLOW. @default 128 */
  maxCalls?: number | undefined;
  /** Returns the id of the call at an index of the reply. @default the server's id, made unique */
  callId?: ((index: number) => string) | undefined;
  /** Ends both branches with its reason and closes the source. */
  signal?: AbortSignal | undefined;
  /**
   * Closes the request behind the source. Called at most once, and only if the stream is cancelled before its end. A source
   * that is an async generator needs it, because its `return()` waits for the pending read. Usually aborts the request.
   */
  onCancel?: ((reason: unknown) => void) | undefined;
  /** Receives faults of the model server that the reply survived. */
  onWarning?: ((warning: ProtocolWarning) => void) | undefined;
}

/** The two branches of a reply. Each can be read once; leaving both closes the source. */
export interface ToolStream {
  /** Text for the user, as it arrives. Never splits a surrogate pair. */
  readonly toUser: AsyncIterable<UserText>;
  /** The tool calls by index, each as soon as it is complete. */
  readonly toolCalls: AsyncIterable<ParsedToolCall>;
  /**
   * The whole reply, once the source ended. Rejects with the source's error or the abort reason. An unhandled rejection does
   * not end the process.
   * @throws {STREAM_ENDED} when the source ended without a finish reason
   */
  readonly done: Promise<Reply>;
  /** Ends both branches with `reason` and closes the source; resolves once the source is closed. */
  cancel(reason?: unknown): Promise<void>;
}

/** Splits the reply of a model. Reading starts at once. A synchronous source is read without a pause. */
export function splitToolStream(source: Source<ModelChunk>, options: SplitOptions = {}): ToolStream {
  const { signal, onCancel, onWarning } = options;
  const limit = options.maxBufferedChars ?? 1_048_576;
  const leave = (): void => {
    if (toUser.hasLeft && toolCalls.hasLeft) {
      void cancel(new FabricError('ABORTED', 'The readers left both branches of the stream'));
    }
  };
  const toUser = new Channel<UserText>({ limit, name: 'the text branch', onLeave: leave });
  const toolCalls = new Channel<ParsedToolCall>({ limit, name: 'the tool call branch', onLeave: leave });
  const reader: ReplyReader = {
    text: (item) => toUser.push(item, item.text.length),
    call: (call) => toolCalls.push(call, call.rawArguments.length + 1),
    warning: (warning) => onWarning?.(warning),
    complete() {
      toUser.end();
      toolCalls.end();
    },
    fail(error) {
      toUser.fail(error);
      toolCalls.fail(error);
      // If the signal was already aborted, there is nothing to close.
      if (hasBegun) onCancel?.(error);
    },
  };
  let hasBegun = false;
  const reading = startReading(
    source,
    reader,
    {
      toUserKey: options.toUserKey === undefined ? 'to_user' : options.toUserKey,
      toUserTools: options.toUserTools,
      separator: options.separator ?? REPLY_DEFAULTS.separator,
      choice: options.choice ?? REPLY_DEFAULTS.choice,
      maxArgumentChars: options.maxArgumentChars ?? REPLY_DEFAULTS.maxArgumentChars,
      maxContentChars: options.maxContentChars ?? REPLY_DEFAULTS.maxContentChars,
      maxCalls: options.maxCalls ?? REPLY_DEFAULTS.maxCalls,
      callId: options.callId,
    },
    signal,
  );
  hasBegun = true;
  // The readers of the branches get the error too, so `done` may stay unread.
  reading.reply.catch(() => {});
  const cancel = (reason?: unknown): Promise<void> =>
    reading.cancel(reason ?? new FabricError('ABORTED', 'The stream was cancelled'));
  return { toUser, toolCalls, done: reading.reply, cancel };
}
