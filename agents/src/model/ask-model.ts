// One request to a model and its whole reply. Strategies and runners take an `AskModel`: the plain one in this file, or the one
// that replays the journal of a turn (`turn/journaled-model.ts`).
import type { ChatModel, ModelRequest, ModelWait } from './model.ts';
import { type ReadReplyOptions, readReply } from './stream/read-reply.ts';
import type { Reply } from './stream/reply-splitter.ts';

export type { Reply } from './stream/reply-splitter.ts';

export interface AskModelOptions extends Omit<ReadReplyOptions, 'callId' | 'maxTextChars'> {
  /** Name of the caller, such as an agent of a team. A resumed turn compares it with its record. */
  scope?: string | undefined;
  /** Runs before the request; what it throws refuses the request. A recorded reply needs no request, so no check. */
  check?: (() => void) | undefined;
  /** Runs when the reply is whole, before it is recorded. Not called for a recorded reply. */
  onReply?: ((reply: Reply) => void) | undefined;
  /** Called at the start of each wait before a failed request is sent again. */
  onWait?: ((wait: ModelWait) => void) | undefined;
}

/** Asks a model once. */
export type AskModel = (model: ChatModel, request: ModelRequest, options?: AskModelOptions) => Promise<Reply>;

/** Asks `model` and reads its reply. Aborting the signal closes the request. @throws what `readReply` and the model throw */
export const askModel = async (
  model: ChatModel,
  request: ModelRequest,
  options: AskModelOptions & Pick<ReadReplyOptions, 'callId' | 'maxTextChars'> = {},
): Promise<Reply> => {
  const { signal, onWait } = options;
  signal?.throwIfAborted();
  options.check?.();
  const reply = await readReply(model.stream(request, { signal, onWait }), options);
  if (reply.message.provider) reply.message.provider.model = request.model ?? model.name;
  options.onReply?.(reply);
  return reply;
};
