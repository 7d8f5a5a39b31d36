// The text of the error for an owner at its limits, in both stores.
import type { OwnerLimits } from './store.ts';

export const ownerLimitText = (principal: string, { maxBytes, maxConversations }: OwnerLimits): string =>
  `The conversations of ${principal} have reached a limit of their owner: ${maxConversations} open conversations or ${maxBytes} bytes (0 is no limit), and all of them are in use. End some, or raise FAME_MAX_CONVERSATIONS_PER_OWNER or FAME_STORE_MAX_BYTES_PER_OWNER.`;
