// The client library, for browsers and Node alike: nothing here needs a Node module. `node.ts` is the same over the ws
// package, for processes.

import { webDial } from '@fame-fabric/shared';
import { type Client, type ClientOptions, connectWith } from './client.ts';

export { type Agent, Client, type ClientOptions } from './client.ts';
export {
  Conversation,
  type ConversationMessage,
  type ConversationOptions,
  type TurnEvent,
  type TurnOptions,
  type TurnUsage,
} from './conversation.ts';
export {
  createEnvelopePrinter,
  type EnvelopePrinterOptions,
  type EnvelopeTrace,
} from './envelope-printer.ts';

/** What `connect` takes; only `url` is needed. */
export type ConnectOptions = Omit<ClientOptions, 'dial'> & Partial<Pick<ClientOptions, 'dial'>>;

/** Attaches to the sentinel at `url`, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
export const connect = (options: ConnectOptions): Promise<Client> =>
  connectWith({ dial: webDial, ...options });
