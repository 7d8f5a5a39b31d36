// The users of the application bench: a process that has many conversations with the plain server, with our fabric, or with its OpenAI
// door, each on its own connection. It sends the turns, checks every answer, and measures delays.
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { connect } from '@fame-fabric/client/node';
import { answerCommands } from '../child.ts';
import { percentile } from '../median.ts';
import type { Order } from './model-server.ts';
import { nowUs } from './time.ts';

export type AppCommand =
  | { cmd: 'open'; kind: keyof typeof CHATS; url: string; conversations: number }
  | ({ cmd: 'run'; turnsEach: number; spreadMs: number } & Order)
  | { cmd: 'close' };

/** Times in ms, at the client. */
export interface RunFigures {
  /** Turns with a complete answer. */
  readonly turns: number;
  readonly failed: number;
  readonly turnP50: number;
  /** From the request to the first text. */
  readonly firstP50: number;
  readonly firstP99: number;
  /** From the model server to the client, for each chunk. */
  readonly delayP50: number;
  readonly delayP99: number;
  /** Events with text per turn. */
  readonly events: number;
}

interface Chat {
  /** Sends a message; resolves to the whole answer. */
  ask(message: string, onText: (text: string) => void): Promise<string>;
  close(): Promise<void>;
}

const OPENED_AT_ONCE = 50;

function plainChat(url: string): Chat {
  const agent = new Agent({ keepAlive: true });
  const conversation = randomUUID();
  return {
    ask: (message, onText) =>
      new Promise((resolve, reject) => {
        const sending = request(url, {
          method: 'POST',
          agent,
          headers: { 'content-type': 'application/json' },
        });
        sending.on('error', reject);
        sending.on('response', (response) => {
          let buffered = '';
          response.setEncoding('utf8');
          response.on('data', (data: string) => {
            const events = (buffered + data).split('\n\n');
            buffered = events.pop()!;
            for (const event of events) {
              const { type, text, message } = JSON.parse(event.slice('data: '.length));
              if (type === 'text') onText(text);
              else if (type === 'done') resolve(text);
              else reject(new Error(message));
            }
          });
          response.on('end', () => reject(new Error('The answer ended early.')));
        });
        sending.end(JSON.stringify({ conversation, message }));
      }),
    close: async () => agent.destroy(),
  };
}

/** A user of the OpenAI door. The nonce makes each request another one: the door takes equal requests for repetitions. */
function doorChat(url: string): Chat {
  const agent = new Agent({ keepAlive: true });
  return {
    ask: (message, onText) =>
      new Promise((resolve, reject) => {
        const headers = { 'content-type': 'application/json' };
        const sending = request(url, { method: 'POST', agent, headers });
        sending.on('error', reject);
        sending.on('response', (response) => {
          let buffered = '';
          let answer = '';
          response.setEncoding('utf8');
          response.on('data', (data: string) => {
            const events = (buffered + data).split('\n\n');
            buffered = events.pop()!;
            for (const event of events) {
              if (!event.startsWith('data: ')) continue;
              const body = event.slice('data: '.length);
              if (body === '[DONE]') {
                resolve(answer);
                continue;
              }
              const text: string | undefined = JSON.parse(body).choices?.[0]?.delta?.content;
              if (!text) continue;
              answer += text;
              onText(text);
            }
          });
          response.on('end', () =>
            reject(new Error(`The answer ended early, with HTTP ${response.statusCode}: ${buffered}`)),
          );
        });
        const content = JSON.stringify({ ...JSON.parse(message), nonce: randomUUID() });
        const messages = [{ role: 'user', content }];
        sending.end(JSON.stringify({ model: 'chat@fame.fabric', stream: true, messages }));
      }),
    close: async () => agent.destroy(),
  };
}

async function fabricChat(url: string): Promise<Chat> {
  const client = await connect({ url });
  const conversation = client.conversation('chat@fame.fabric', { systemPrompt: 'Be brief.' });
  try {
    await conversation.start();
  } catch (error) {
    await client.close();
    throw error;
  }
  return {
    async ask(message, onText) {
      let answer = '';
      for await (const event of conversation.stream(message)) {
        if (event.type === 'text') onText(event.text);
        else if (event.type === 'done') answer = event.text;
      }
      return answer;
    },
    async close() {
      await conversation.end();
      await client.close();
    },
  };
}

const CHATS = { plain: plainChat, fabric: fabricChat, door: doorChat, 'remote door': doorChat } as const;

const chats: Chat[] = [];

async function open({ kind, url, conversations }: Extract<AppCommand, { cmd: 'open' }>): Promise<void> {
  while (chats.length < conversations) {
    const missing = Math.min(OPENED_AT_ONCE, conversations - chats.length);
    const make = async (): Promise<Chat> => CHATS[kind](url);
    chats.push(...(await Promise.all(Array.from({ length: missing }, make))));
  }
}

async function run(command: Extract<AppCommand, { cmd: 'run' }>): Promise<RunFigures> {
  const { chunks, perSecond, together, turnsEach, spreadMs } = command;
  const message = JSON.stringify({ chunks, perSecond, ...(together ? { together } : {}) } satisfies Order);
  const turns: number[] = [];
  const firsts: number[] = [];
  const delays: number[] = [];
  let failed = 0;
  let events = 0;
  const turn = async (chat: Chat): Promise<void> => {
    const from = nowUs();
    let text = '';
    let partialStamp = '';
    const answer = await chat.ask(message, (more) => {
      const now = nowUs();
      if (text === '') firsts.push((now - from) / 1_000);
      const stamps = (partialStamp + more).split(' ');
      partialStamp = stamps.pop()!;
      for (const stamp of stamps) delays.push((now - Number(stamp)) / 1_000);
      text += more;
      events += 1;
    });
    const ms = (nowUs() - from) / 1_000;
    if (answer !== text || text.split(' ').length !== chunks + 1)
      throw new Error('The answer is incomplete.');
    turns.push(ms);
  };
  await Promise.all(
    chats.map(async (chat, i) => {
      await new Promise((resolve) => setTimeout(resolve, (i / chats.length) * spreadMs));
      for (let n = 0; n < turnsEach; n += 1) {
        try {
          await turn(chat);
        } catch (error) {
          if (failed === 0) console.error(`A turn failed: ${error}`);
          failed += 1;
        }
      }
    }),
  );
  return {
    turns: turns.length,
    failed,
    turnP50: percentile(turns, 0.5),
    firstP50: percentile(firsts, 0.5),
    firstP99: percentile(firsts, 0.99),
    delayP50: percentile(delays, 0.5),
    delayP99: percentile(delays, 0.99),
    events: events / turns.length,
  };
}

async function close(): Promise<void> {
  for (
    let closing = chats.splice(0, OPENED_AT_ONCE);
    closing.length > 0;
    closing = chats.splice(0, OPENED_AT_ONCE)
  ) {
    await Promise.all(closing.map((chat) => chat.close()));
  }
}

answerCommands<AppCommand>((command) => {
  switch (command.cmd) {
    case 'open':
      return open(command);
    case 'run':
      return run(command);
    case 'close':
      return close();
  }
});
