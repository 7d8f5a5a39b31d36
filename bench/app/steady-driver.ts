// The users of the capacity bench: a process that keeps a number of conversations busy. Each user sends the next message when its answer
// is complete. Every answer is checked, and at the end compared with the journal of the agent.
import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerCommands } from '../child.ts';
import { type Counts, Histogram } from '../histogram.ts';
import { AnswerReader } from './answer-reader.ts';
import { type Chat, closeChats, openChats } from './chats.ts';
import type { Order } from './model-server.ts';
import { nowUs } from './time.ts';

export type SteadyCommand =
  | { cmd: 'resize'; url: string; conversations: number; chunks: number; perSecond: number }
  | { cmd: 'window' }
  | { cmd: 'finish' };

/** Figures since the previous window. */
export interface SteadyWindow {
  readonly turns: number;
  /** Turns that failed, or whose answer is not the one of the model server. */
  readonly failures: readonly string[];
  /** Delays of chunks, from the model server to the user. */
  readonly delays: Counts;
  /** Times from a message to the first text of its answer. */
  readonly firsts: Counts;
}

/** Comparison of the answers that the users received with the journal. */
export interface Comparison {
  readonly turns: number;
  /** Conversations whose answers in the journal are others. */
  readonly different: number;
}

interface User {
  readonly chat: Chat;
  readonly answers: string[];
  isLeaving: boolean;
  done: Promise<void>;
}

const users: User[] = [];
const delays = new Histogram();
const firsts = new Histogram();
let failures: string[] = [];
let turns = 0;

const digestOf = (text: string): string => hash('sha256', text).slice(0, 16);

async function talk(user: User, order: Order, tag: string): Promise<void> {
  for (let n = 0; !user.isLeaving; n += 1) {
    try {
      await turn(user, { ...order, tag: `${tag}.${n}` });
    } catch (error) {
      failures.push(String(error));
      await sleep(1_000);
    }
  }
}

async function turn({ chat, answers }: User, order: Order): Promise<void> {
  const from = nowUs();
  let now = from;
  const reader = new AnswerReader(order.tag!, (sentAtUs) => delays.add((now - sentAtUs) / 1_000));
  const answer = await chat.ask(JSON.stringify(order), (text) => {
    now = nowUs();
    if (reader.text === '') firsts.add((now - from) / 1_000);
    reader.add(text);
  });
  reader.end(answer, order.chunks);
  answers.push(digestOf(answer));
  turns += 1;
}

type Resize = Extract<SteadyCommand, { cmd: 'resize' }>;

/** Adds or removes users. Resolves when all new users have begun, or the removed ones have ended. */
async function resize({ url, conversations, chunks, perSecond }: Resize): Promise<void> {
  const leaving = users.splice(Math.min(conversations, users.length));
  for (const user of leaving) user.isLeaving = true;
  await Promise.all(leaving.map(({ done }) => done));
  await closeChats(leaving.map(({ chat }) => chat));

  const chats: Chat[] = [];
  await openChats(chats, { protocol: 'fabric', url, count: conversations - users.length });
  // Spread over one turn, so that turns begin evenly from then on.
  const turnMs = (1_000 * chunks) / perSecond;
  for (const chat of chats) {
    const user: User = { chat, answers: [], isLeaving: false, done: Promise.resolve() };
    user.done = talk(user, { chunks, perSecond }, String(users.length));
    users.push(user);
    await sleep(turnMs / chats.length);
  }
}

function takeWindow(): SteadyWindow {
  const window = { turns, failures, delays: delays.take(), firsts: firsts.take() };
  turns = 0;
  failures = [];
  return window;
}

/** Ends all conversations after their current turns and compares them with the journal. */
async function finish(): Promise<Comparison> {
  for (const user of users) user.isLeaving = true;
  await Promise.all(users.map(({ done }) => done));
  let different = 0;
  for (const { chat, answers } of users) {
    const journaled = (await chat.journaledAnswers!()).map(digestOf);
    if (journaled.join() !== answers.join()) different += 1;
  }
  const compared = users.reduce((total, { answers }) => total + answers.length, 0);
  await closeChats(users.splice(0).map(({ chat }) => chat));
  return { turns: compared, different };
}

answerCommands<SteadyCommand>((command) => {
  switch (command.cmd) {
    case 'resize':
      return resize(command);
    case 'window':
      return takeWindow();
    case 'finish':
      return finish();
  }
});
