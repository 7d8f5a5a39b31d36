// The public names of the hook, and of the store that it shows, which other user interface libraries can use.
export {
  type Approval,
  type ConversationSettings,
  type ConversationStatus,
  ConversationStore,
  type ConversationStoreOptions,
  type ConversationView,
} from './conversation-store.ts';
export type {
  AssistantMessage,
  BudgetPart,
  Message,
  MessageError,
  MessagePart,
  TextPart,
  ToolPart,
  UserMessage,
} from './messages.ts';
export { type UseConversation, type UseConversationOptions, useConversation } from './use-conversation.ts';
