// Exports a whole conversation as a file: its events as JSON, or its messages as Markdown.
import type { Client, ConversationEvent } from '@fame-fabric/client';
import { Turns, textOf, toolsOf } from '../../fabric/conversation/turns.ts';

const PAGE_EVENTS = 500;

/** Reads all events of a conversation so far. */
async function readAll(client: Client, address: string, id: string): Promise<ConversationEvent[]> {
  const conversations = client.conversations(address);
  const all: ConversationEvent[] = [];
  for (let after = 0; ; ) {
    const { events, next } = await conversations.readEvents(id, { after, limit: PAGE_EVENTS });
    if (events.length === 0) return all;
    all.push(...events);
    after = next;
  }
}

export type ExportFormat = 'json' | 'markdown';

/** Reads the conversation and hands the file to the browser. */
export async function exportConversation(
  client: Client,
  address: string,
  id: string,
  format: ExportFormat,
): Promise<void> {
  const events = await readAll(client, address, id);
  const name = `conversation-${id.replace(/[^\w-]/g, '_').slice(0, 64)}`;
  if (format === 'json') download(`${name}.json`, 'application/json', jsonOf(address, id, events));
  else download(`${name}.md`, 'text/markdown', markdownOf(address, id, events));
}

export const jsonOf = (address: string, id: string, events: readonly ConversationEvent[]): string =>
  `${JSON.stringify({ agent: address, conversation_id: id, events }, null, 2)}\n`;

/** Texts are indented as code blocks, so that they cannot change the structure of the file. */
export function markdownOf(address: string, id: string, events: readonly ConversationEvent[]): string {
  const turns = new Turns();
  for (const event of events) turns.apply(event);
  const { start, all } = turns;
  const parts = [`# Conversation ${id}`, `Agent: ${address}`];
  if (start?.systemPrompt) parts.push('## System prompt', block(start.systemPrompt));
  for (const { role, content } of start?.messages ?? [])
    if (typeof content === 'string') parts.push(`## ${role}`, block(content));
  for (const turn of all) {
    parts.push(`## User, ${new Date(turn.acceptedAt).toISOString()}`, block(turn.userMessage));
    for (const { name, state } of toolsOf(turn))
      parts.push(`Tool \`${name.replaceAll('`', "'")}\`: ${state}`);
    parts.push(`## Agent, ${turn.state}`, block(textOf(turn)));
    if (turn.error) parts.push(`${turn.error.code}: ${turn.error.message}`);
  }
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

const block = (text: string): string => (text === '' ? '' : text.replace(/^/gm, '    '));

function download(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The browser has taken the file over when the click returns.
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}
