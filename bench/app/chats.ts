// Conversations of the users of the turn benchmarks: with the plain server, with our fabric, with its OpenAI door, and with a chat agent
// of naylence. Each has a connection of its own.
import { randomUUID } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';

export interface Chat {
  /** Id of the conversation. */
  readonly id: string;
  /** Sends a message; resolves to the whole answer. */
  ask(message: string, onText: (text: string) => void): Promise<string>;
  /** Returns the answers in the journal, oldest first. Only chats with our fabric have one. @throws {Error} if its events contradict each other */
  journaledAnswers?(): Promise<string[]>;
  close(): Promise<void>;
}

const ADDRESS = 'chat@fame.fabric';
const SYSTEM_PROMPT = 'Be brief.';

/** Posts a JSON body and calls `onEvent` with the data of each server-sent event. Rejects if the answer ends before `isOver` is true. */
function postForEvents(
  url: string,
  { agent, body, isOver }: { agent: Agent; body: object; isOver: () => boolean },
  onEvent: (data: string) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sending = request(url, { method: 'POST', agent, headers }, (response: IncomingMessage) => {
      let buffered = '';
      response.setEncoding('utf8');
      response.on('data', (data: string) => {
        const events = (buffered + data).split('\n\n');
        buffered = events.pop()!;
        try {
          for (const event of events) if (event.startsWith('data: ')) onEvent(event.slice('data: '.length));
        } catch (error) {
          reject(error);
        }
      });
      response.on('end', () => {
        if (isOver()) resolve();
        else reject(new Error(`The answer ended early, with HTTP ${response.statusCode}: ${buffered}`));
      });
    });
    sending.on('error', reject);
    sending.end(JSON.stringify(body));
  });
}

function plainChat(url: string): Chat {
  const agent = new Agent({ keepAlive: true });
  const id = randomUUID();
  return {
    id,
    async ask(message, onText) {
      let answer: string | undefined;
      const body = { conversation: id, message };
      await postForEvents(url, { agent, body, isOver: () => answer !== undefined }, (data) => {
        const event = JSON.parse(data);
        if (event.type === 'text') onText(event.text);
        else if (event.type === 'done') answer = event.text;
        else throw new Error(event.message);
      });
      return answer!;
    },
    close: async () => agent.destroy(),
  };
}

/** A user of the OpenAI door. The nonce makes each request another one: the door takes equal requests for repetitions. */
function doorChat(url: string): Chat {
  const agent = new Agent({ keepAlive: true });
  return {
    id: randomUUID(),
    async ask(message, onText) {
      let answer = '';
      let isOver = false;
      const content = JSON.stringify({ ...JSON.parse(message), nonce: randomUUID() });
      const body = { model: ADDRESS, stream: true, messages: [{ role: 'user', content }] };
      await postForEvents(url, { agent, body, isOver: () => isOver }, (data) => {
        if (data === '[DONE]') {
          isOver = true;
          return;
        }
        const text: string | undefined = JSON.parse(data).choices?.[0]?.delta?.content;
        if (!text) return;
        answer += text;
        onText(text);
      });
      return answer;
    },
    close: async () => agent.destroy(),
  };
}

async function fabricChat(url: string): Promise<Chat> {
  const client = await connect({ url });
  const conversation = client.conversation(ADDRESS, { systemPrompt: SYSTEM_PROMPT });
  try {
    await conversation.start();
  } catch (error) {
    await client.close();
    throw error;
  }
  return {
    id: conversation.id,
    async ask(message, onText) {
      let answer = '';
      for await (const event of conversation.stream(message)) {
        if (event.type === 'text') onText(event.text);
        else if (event.type === 'done') answer = event.text;
      }
      return answer;
    },
    journaledAnswers: () => journaledAnswers(client, conversation.id),
    async close() {
      await conversation.end();
      await client.close();
    },
  };
}

async function journaledAnswers(client: Client, id: string): Promise<string[]> {
  const conversations = client.conversations(ADDRESS);
  const answers: string[] = [];
  let text = '';
  let after = 0;
  for (;;) {
    const { events, next } = await conversations.readEvents(id, { after, limit: 500 });
    for (const event of events) {
      if (event.type === 'text') text += event.text;
      if (event.type !== 'done') continue;
      if (event.text !== text) throw new Error('The text of a turn in the journal is not its answer.');
      answers.push(text);
      text = '';
    }
    if (events.length === 0 || next === after) return answers;
    after = next;
  }
}

/** A user of an agent of naylence (`test/interop/peer/model-chat.mjs`), through our client. */
async function naylenceChat(url: string): Promise<Chat> {
  const client = await connect({ url });
  const id = randomUUID();
  const call = (method: string, ...args: unknown[]) =>
    client.call(ADDRESS, method, { args: [id, ...args] }, { timeoutMs: 5_000 });
  try {
    await call('start_conversation', SYSTEM_PROMPT);
  } catch (error) {
    await client.close();
    throw error;
  }
  return {
    id,
    async ask(message, onText) {
      let answer = '';
      const params = { args: [id, message] };
      type Item = { type: 'text' | 'done'; text: string };
      for await (const item of client.stream<Item>(ADDRESS, 'run_turn_stream', params, {
        timeoutMs: 120_000,
      })) {
        if (item.type === 'text') onText(item.text);
        else answer = item.text;
      }
      return answer;
    },
    async close() {
      await call('end_conversation');
      await client.close();
    },
  };
}

const CHATS = { plain: plainChat, fabric: fabricChat, door: doorChat, naylence: naylenceChat } as const;

/** The way in which a user talks to a contestant. */
export type ChatProtocol = keyof typeof CHATS;

const OPENED_AT_ONCE = 50;

/** Opens conversations until `chats` has `count` of them. @param url one URL, or several separated by commas, which are used in turn */
export async function openChats(
  chats: Chat[],
  { protocol, url, count }: { protocol: ChatProtocol; url: string; count: number },
): Promise<void> {
  const urls = url.split(',');
  while (chats.length < count) {
    const missing = Math.min(OPENED_AT_ONCE, count - chats.length);
    const open = async (_: unknown, nth: number): Promise<Chat> =>
      CHATS[protocol](urls[(chats.length + nth) % urls.length]!);
    chats.push(...(await Promise.all(Array.from({ length: missing }, open))));
  }
}

/** Closes the conversations and removes them from `chats`. */
export async function closeChats(chats: Chat[]): Promise<void> {
  while (chats.length > 0) {
    await Promise.all(chats.splice(0, OPENED_AT_ONCE).map((chat) => chat.close()));
  }
}
