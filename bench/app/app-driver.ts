// The users of the turn benchmarks: a process that has many conversations with one contestant, each on its own connection. It sends the
// turns, checks every answer, and measures delays.
import { answerCommands } from '../child.ts';
import { percentile } from '../median.ts';
import { AnswerReader } from './answer-reader.ts';
import { type Chat, type ChatProtocol, closeChats, openChats } from './chats.ts';
import type { Order } from './model-server.ts';
import { nowUs } from './time.ts';

export type AppCommand =
  | { cmd: 'open'; protocol: ChatProtocol; url: string; conversations: number }
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

const chats: Chat[] = [];

async function run({ turnsEach, spreadMs, ...order }: Extract<AppCommand, { cmd: 'run' }>) {
  const { chunks, perSecond, together = 1 } = order;
  const turns: number[] = [];
  const firsts: number[] = [];
  const delays: number[] = [];
  let failed = 0;
  let events = 0;
  const turn = async (chat: Chat, tag: string): Promise<void> => {
    const message = JSON.stringify({ chunks, perSecond, together, tag } satisfies Order);
    const from = nowUs();
    let now = from;
    const reader = new AnswerReader(tag, (sentAtUs) => delays.push((now - sentAtUs) / 1_000));
    const answer = await chat.ask(message, (text) => {
      now = nowUs();
      if (reader.text === '') firsts.push((now - from) / 1_000);
      reader.add(text);
      events += 1;
    });
    const ms = (nowUs() - from) / 1_000;
    reader.end(answer, chunks);
    turns.push(ms);
  };
  await Promise.all(
    chats.map(async (chat, i) => {
      await new Promise((resolve) => setTimeout(resolve, (i / chats.length) * spreadMs));
      for (let n = 0; n < turnsEach; n += 1) {
        try {
          await turn(chat, `${i}.${n}`);
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
  } satisfies RunFigures;
}

answerCommands<AppCommand>((command) => {
  switch (command.cmd) {
    case 'open':
      return openChats(chats, { ...command, count: command.conversations });
    case 'run':
      return run(command);
    case 'close':
      return closeChats(chats);
  }
});
