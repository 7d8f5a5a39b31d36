// The public names of the client library. Loads in a browser and in Node. `node.ts` has the same `connect` over the ws package.
import { webDial } from '@fame-fabric/shared';
import { type Client, type ClientOptions, connectWith } from './client.ts';

export type {
  AcknowledgedSendOptions,
  AgentTasks,
  RunManyOptions,
  RunTaskOptions,
  Send,
  SendOptions,
  StartTaskOptions,
  SubscribeOptions,
  Task,
  TaskEvent,
  TaskFields,
  TaskMethods,
  TaskOutcome,
  TaskPayload,
  TaskRequestOptions,
  TaskResult,
} from '@fame-fabric/shared';
export type {
  ApprovalAnswer,
  Caller,
  ChatAgentDescription,
  ConversationMessage,
} from './chat-operations.ts';
export { type Agent, Client, type ClientOptions } from './client.ts';
export { Conversation, type ConversationOptions, type TurnOptions } from './conversation.ts';
export type {
  ConversationPage,
  ConversationState,
  ConversationSummary,
  Cost,
  FinishReason,
  ForkOrigin,
  ModelMessage,
  ModelOptions,
  PendingApproval,
  PromptReport,
  ToolCall,
  ToolResult,
  ToolSpec,
  TurnReport,
  TurnState,
  TurnStep,
  TurnUsage,
} from './conversation-types.ts';
export {
  Conversations,
  type ConversationsOptions,
  type FollowOptions,
  type ForkOptions,
  type ListOptions,
  type ReadOptions,
} from './conversations.ts';
export {
  createEnvelopePrinter,
  type EnvelopePrinterOptions,
  type EnvelopeTrace,
} from './envelope-printer.ts';
export {
  type ApprovalAnswerEvent,
  type ApprovalEvent,
  type ConversationEvent,
  type DoneEvent,
  type ErrorEvent,
  type EventPage,
  isUndecided,
  type ModelCallEvent,
  type ModelReplyEvent,
  type ProgressEvent,
  type ReasoningEvent,
  type TurnEvent,
  type WaitingEvent,
} from './turn-event.ts';

/** Options of `connect`; only `url` is required. */
export type ConnectOptions = Omit<ClientOptions, 'dial'> & Partial<Pick<ClientOptions, 'dial'>>;

/** Attaches to the sentinel at `url`, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
export const connect = (options: ConnectOptions): Promise<Client> =>
  connectWith({ dial: webDial, ...options });
