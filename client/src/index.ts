// The public names of the client library. Loads in a browser and in Node. `node.ts` has the same `connect` over the ws package.
import { webDial } from '@fame-fabric/shared';
import { type Client, type ClientOptions, connectWith } from './client.ts';

export type { Caller, ChatAgentDescription, ConversationMessage } from './chat-operations.ts';
export { type Agent, Client, type ClientOptions } from './client.ts';
export { Conversation, type ConversationOptions, type TurnOptions } from './conversation.ts';
export {
  createEnvelopePrinter,
  type EnvelopePrinterOptions,
  type EnvelopeTrace,
} from './envelope-printer.ts';
export { isUndecided, type TurnEvent, type TurnUsage } from './turn-event.ts';

/** Options of `connect`; only `url` is required. */
export type ConnectOptions = Omit<ClientOptions, 'dial'> & Partial<Pick<ClientOptions, 'dial'>>;

/** Attaches to the sentinel at `url`, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
export const connect = (options: ConnectOptions): Promise<Client> =>
  connectWith({ dial: webDial, ...options });
