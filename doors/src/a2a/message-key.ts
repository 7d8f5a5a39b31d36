// Idempotency by message id. The ids of a new conversation, turn or task are derived from the message, so that a repeated message joins
// the first one.
import { createHash } from 'node:crypto';
import { newId } from '@fame-fabric/shared';
import type { Message } from './sdk.ts';

/** Shortest message id that identifies a message outside of a context. People who write requests by hand use ids such as `1`. */
const MIN_UNIQUE_CHARS = 16;

interface KeyScope {
  /** The caller, as `Visitor.principal`. */
  readonly principal: string;
  /** Address of the agent. */
  readonly agent: string;
}

/**
 * Returns the key of a message: 22 characters. The same message of the same caller to the same agent has the same key, unless its id is
 * too short to be unique: then each key is new. The key covers the content, so a reused id does not return the answer to another
 * message.
 */
export function messageKey(
  { principal, agent }: KeyScope,
  { messageId, contextId, taskId, parts }: Pick<Message, 'messageId' | 'contextId' | 'taskId' | 'parts'>,
): string {
  if (contextId === '' && taskId === '' && messageId.length < MIN_UNIQUE_CHARS) return newId();
  const content = parts.map(({ content }) => content);
  return createHash('sha256')
    .update(JSON.stringify([principal, agent, contextId, taskId, messageId, content]))
    .digest('base64url')
    .slice(0, 22);
}
