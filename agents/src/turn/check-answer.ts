// The model may intend an answer without text and calls. If the server cut it off, it is an error that tells the user the reason.
import { FabricError } from '@fame-fabric/shared';
import type { Reply } from '../model/ask-model.ts';

/** @throws {MODEL_ANSWER_EMPTY} if the server cut the reply before its first text or call */
export function checkAnswer({ message, finish }: Pick<Reply, 'message' | 'finish'>): void {
  if (message.tool_calls?.length || (message.content ?? '').trim() !== '') return;
  if (finish === 'length') {
    throw new FabricError(
      'MODEL_ANSWER_EMPTY',
      'The model used up its tokens before the first word of its answer: raise FAME_MAX_ANSWER_TOKENS (maxAnswerTokens in a program), or ask for less.',
    );
  }
  if (finish === 'content_filter') {
    throw new FabricError(
      'MODEL_ANSWER_EMPTY',
      'The content filter of the model server removed the whole answer: change the message.',
    );
  }
}
