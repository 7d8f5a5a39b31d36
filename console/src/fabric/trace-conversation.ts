// Selects the messages of one conversation in the trace: the calls that started its turns, those to come included.
import { effect, signal } from '@preact/signals';
import { client } from './connection.ts';
import { sessionView } from './session.ts';
import { filterTrace } from './trace.ts';

/** The conversation: `ADDRESS/ID`, or the id of one of the chat agent. Empty selects all messages. */
export const conversation = signal('');
/** The error of reading the conversation. */
export const conversationError = signal<unknown>(undefined);

export function filterByConversation(text: string): void {
  conversation.value = text.trim();
}

/** Follows a conversation and extends the filter with the call of each turn, until `signal` aborts. */
async function followCalls(
  connected: NonNullable<typeof client.value>,
  { address, id }: { address: string; id: string },
  aborted: AbortSignal,
): Promise<void> {
  const calls = new Set<string>();
  filterTrace({ calls });
  try {
    for await (const event of connected.conversations(address).follow(id, { signal: aborted })) {
      if (event.type !== 'turn' || event.corr_id === undefined) continue;
      calls.add(event.corr_id);
      filterTrace({ calls });
    }
  } catch (error) {
    if (!aborted.aborted) conversationError.value = error;
  }
}

/** Reads `ADDRESS/ID` or `ID`. Undefined without an address. */
export function parseConversation(
  text: string,
  chatAddress: string | undefined,
): { address: string; id: string } | undefined {
  const slash = text.indexOf('/');
  const address = slash < 0 ? chatAddress : text.slice(0, slash);
  return address ? { address, id: text.slice(slash + 1) } : undefined;
}

/** Keeps the filter current until the returned function is called. */
export const startConversationFilter = (): (() => void) =>
  effect(() => {
    const text = conversation.value;
    const connected = client.value;
    conversationError.value = undefined;
    if (text === '') {
      filterTrace({ calls: undefined });
      return undefined;
    }
    const target = parseConversation(text, sessionView.value?.chatAddress);
    if (connected === undefined || target === undefined) return undefined;
    const controller = new AbortController();
    void followCalls(connected, target, controller.signal);
    return () => controller.abort();
  });
