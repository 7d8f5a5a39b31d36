// The hook: a store for each conversation, and its view.
import { type Client, connect } from '@fame-fabric/client';
import { useMemo, useSyncExternalStore } from 'react';
import { type ConversationSettings, ConversationStore, type ConversationView } from './conversation-store.ts';

interface CommonOptions extends ConversationSettings {
  /** Address of a chat agent, such as `chat@fame.fabric`. */
  address: string;
  /**
   * The conversation to show. Keep the id to show it again, in `localStorage` for example: anyone who knows it can read the
   * conversation. At most 256 characters. @default a new random id
   */
  conversationId?: string | undefined;
}

/** Either the URL of a sentinel, for a connection of this component, or a client of yours, which several components may share. */
export type UseConversationOptions = CommonOptions &
  (
    | {
        /** Such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
        url: string;
        client?: undefined;
      }
    | {
        url?: undefined;
        /** Connect outside of the component, once: `const client = connect({ url })`. */
        client: Client | Promise<Client>;
      }
  );

export interface UseConversation
  extends ConversationView,
    Pick<ConversationStore, 'send' | 'cancel' | 'answerApproval' | 'retry'> {}

/** Time after which a page reports that it cannot connect, in ms. It keeps trying. */
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Shows a conversation with a chat agent, and sends messages to it. The conversation starts with its first message. The connection
 * lasts while the component is mounted; answers continue at the agent, and the next mount shows them. A new `url`, `client`, `address`
 * or `conversationId` shows another conversation. Changes of the settings have no effect.
 */
export function useConversation(options: UseConversationOptions): UseConversation {
  const { url, client, address, conversationId, ...settings } = options;
  // biome-ignore lint/correctness/useExhaustiveDependencies: settings apply to the start of a conversation only
  const store = useMemo(() => {
    const isShared = client !== undefined;
    const open = async (): Promise<Client> =>
      client ?? connect({ url, connectTimeoutMs: CONNECT_TIMEOUT_MS });
    return new ConversationStore({ address, conversationId, settings, isShared, connect: open });
  }, [url, client, address, conversationId]);
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
  const { send, cancel, answerApproval, retry } = store;
  return useMemo(
    () => ({ ...view, send, cancel, answerApproval, retry }),
    [view, send, cancel, answerApproval, retry],
  );
}
