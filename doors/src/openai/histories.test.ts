// D7 and D10: clients that send their whole history with each request, in the shapes of Open WebUI, LibreChat and LangChain. The shapes
// are ours, written after the requests that these clients send.
import { reply } from '@fame-fabric/agents/testing';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { assistant, type ChatReply, chat, system, user } from '../testing/chat-client.ts';
import { type DoorKit, doorKit } from '../testing/door-kit.ts';
import { openAiDoor } from './openai-door.ts';

const ADDRESS = 'chat@fame.fabric';

/** A message of a client's own tree. */
interface Kept {
  readonly text: string;
  readonly answer: string;
}

/** The form of the requests of one client. */
interface Shape {
  readonly name: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Messages of the request for a history and a new text. `day` counts the requests. */
  messages(history: readonly Kept[], text: string, day: number): unknown[];
}

const date = (day: number): string => new Date(Date.UTC(2026, 0, 1 + day)).toDateString();

/** Open WebUI: the whole history, a system prompt with the date, reasoning removed, and empty answers left out. */
const openWebUi: Shape = {
  name: 'Open WebUI',
  headers: { 'x-openwebui-chat-id': 'chat-1' },
  messages: (history, text, day) => [
    system(`You are helpful. Today is ${date(day)}.`),
    ...history.flatMap((one) => [
      user(one.text),
      ...(one.answer === '' ? [] : [assistant(one.answer.trim())]),
    ]),
    user(text),
  ],
};

/** LibreChat: the newest messages that fit its context, texts with spaces around them, and parts. */
const libreChat: Shape = {
  name: 'LibreChat',
  headers: { 'x-conversation-id': 'chat-1' },
  messages: (history, text, day) => [
    { role: 'system', content: `Current date: ${date(day)}` },
    ...history.slice(-6).flatMap((one) => [user(`${one.text} `), assistant(`${one.answer}\n`)]),
    user([{ type: 'text', text }]),
  ],
};

/** LangChain: the id in `metadata`, a trimmed history that may begin with an answer, and tool messages removed. */
const langChain: Shape = {
  name: 'LangChain',
  metadata: { conversation_id: 'chat-1' },
  messages: (history, text, day) => {
    const all = history.flatMap((one) => [user(one.text), assistant(one.answer)]).slice(-9);
    return [system(`It is ${date(day)}.`), ...all, user(text)];
  },
};

const SHAPES = [openWebUi, libreChat, langChain];

/** A chat of a person with a client of a shape. */
class Chat {
  readonly kit: DoorKit;
  readonly shape: Shape;
  history: Kept[] = [];
  #day = 0;

  constructor(kit: DoorKit, shape: Shape) {
    this.kit = kit;
    this.shape = shape;
  }

  /** Sends a message after the first `at` ones. Those after it are replaced. */
  async send(text: string, at = this.history.length): Promise<ChatReply> {
    this.history = this.history.slice(0, at);
    const { headers, metadata } = this.shape;
    const messages = this.shape.messages(this.history, text, this.#day++);
    const answer = await chat(this.kit, { messages, ...(metadata ? { metadata } : {}) }, headers);
    expect(answer.text, text).toContain('"chat.completion"');
    this.history = [...this.history, { text, answer: answer.body.choices[0]!.message.content ?? '' }];
    return answer;
  }

  /** Asks for another answer to message number `at`, from 0. */
  regenerate(at = this.history.length - 1): Promise<ChatReply> {
    return this.send(this.history[at]!.text, at);
  }
}

/** Opens the door to an agent that numbers its answers. */
const open = () =>
  doorKit(openAiDoor, {
    replies: Array.from({ length: 600 }, (_, i) => () => `Answer ${i}`),
    chat: { maxHistoryLength: 200 },
  });

const idOf = ({ headers }: ChatReply): string => String(headers['x-conversation-id']);

/** The questions and answers that the model received last, without the system prompt. */
const lastPrompt = ({ model }: DoorKit): (string | null)[] =>
  model.requests
    .at(-1)!
    .messages.filter(({ role }) => role !== 'system')
    .map(({ content }) => content);

const conversationsOf = async ({ client }: DoorKit) => {
  const { conversations } = await client.conversations(ADDRESS).list({ limit: 200 });
  return conversations.map(({ id, turns, forked_from }) => ({
    id,
    turns,
    from: forked_from?.conversation_id,
  }));
};

describe.each(SHAPES)('D10: $name', (shape) => {
  test('a year of messages is a turn each, without a fork', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (let day = 0; day < 365; day++)
      expect(idOf(await person.send(`Message of day ${day}`))).toBe('chat-1');
    expect(await conversationsOf(kit)).toEqual([{ id: 'chat-1', turns: 365, from: undefined }]);
    // The window of the agent.
    expect(lastPrompt(kit)).toHaveLength(401);
  });

  test('the same message again is a turn each', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (const text of ['go on', 'yes', 'yes', 'yes', 'go on']) await person.send(text);
    expect(await conversationsOf(kit)).toEqual([{ id: 'chat-1', turns: 5, from: undefined }]);
  });

  test('an edited message forks the conversation, and the chat continues in the fork', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (const text of ['one', 'two', 'three']) await person.send(text);
    const edited = await person.send('two, edited', 1);
    expect(idOf(edited)).not.toBe('chat-1');
    expect(edited.body.metadata.conversation_id).toBe(idOf(edited));
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 0', 'two, edited']);
    expect(idOf(await person.send('four'))).toBe(idOf(edited));
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 0', 'two, edited', 'Answer 3', 'four']);
    expect(idOf(await person.send('five'))).toBe(idOf(edited));
    const all = await conversationsOf(kit);
    expect(all).toContainEqual({ id: 'chat-1', turns: 3, from: undefined });
    expect(all).toContainEqual({ id: idOf(edited), turns: 3, from: 'chat-1' });
    expect(all).toHaveLength(2);
  });

  test('another answer forks before the last turn, and the chat continues after it', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (const text of ['one', 'two']) await person.send(text);
    const again = await person.regenerate();
    expect(idOf(again)).not.toBe('chat-1');
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 0', 'two']);
    const third = await person.regenerate();
    expect([idOf(again), 'chat-1']).not.toContain(idOf(third));
    expect(idOf(await person.send('three'))).toBe(idOf(third));
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 0', 'two', 'Answer 3', 'three']);
    expect(idOf(await person.send('four'))).toBe(idOf(third));
    expect(await conversationsOf(kit)).toHaveLength(3);
  });

  test('another answer to the first message leaves the first one as it is', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    await person.send('one');
    const again = await person.regenerate();
    expect(idOf(again)).not.toBe('chat-1');
    expect(lastPrompt(kit)).toEqual(['one']);
    expect(idOf(await person.send('two'))).toBe(idOf(again));
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 1', 'two']);
  });

  test('an edited first message forks at the start', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (const text of ['one', 'two']) await person.send(text);
    const edited = await person.send('one, edited', 0);
    expect(idOf(edited)).not.toBe('chat-1');
    expect(lastPrompt(kit)).toEqual(['one, edited']);
    expect(idOf(await person.send('two'))).toBe(idOf(edited));
    expect(lastPrompt(kit)).toEqual(['one, edited', 'Answer 2', 'two']);
  });

  test('the person returns to the first version, and continues there', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (const text of ['one', 'two']) await person.send(text);
    const before = person.history;
    await person.regenerate();
    person.history = before;
    expect(idOf(await person.send('three'))).toBe('chat-1');
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 0', 'two', 'Answer 1', 'three']);
  });

  test('a message that was changed without an answer to it is as the client shows it', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (const text of ['one', 'two']) await person.send(text);
    person.history = [person.history[0]!, { ...person.history[1]!, text: 'two, corrected' }];
    const changed = await person.send('three');
    expect(lastPrompt(kit).map((text) => text?.trim())).toEqual([
      'one',
      'Answer 0',
      'two, corrected',
      'Answer 1',
      'three',
    ]);
    expect(idOf(await person.send('four'))).toBe(idOf(changed));
    expect(await conversationsOf(kit)).toHaveLength(2);
  });

  test('a client that changes each answer keeps its conversation', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    for (let i = 0; i < 12; i++) {
      await person.send(`Question ${i}`);
      person.history = person.history.map((one) => ({ ...one, answer: 'Something else' }));
    }
    expect(await conversationsOf(kit)).toEqual([{ id: 'chat-1', turns: 12, from: undefined }]);
  });

  test('a chat that began elsewhere continues with its history', async () => {
    await using kit = await open();
    const person = new Chat(kit, shape);
    person.history = [
      { text: 'one', answer: 'first' },
      { text: 'two', answer: 'second' },
    ];
    await person.send('three');
    expect(lastPrompt(kit).map((text) => text?.trim())).toEqual(['one', 'first', 'two', 'second', 'three']);
    await person.send('four');
    expect(await conversationsOf(kit)).toEqual([{ id: 'chat-1', turns: 2, from: undefined }]);
  });
});

describe('D10: a client with an id that sends new messages only', () => {
  const headers = { 'x-conversation-id': 'demo' };

  test('has one conversation', async () => {
    await using kit = await open();
    for (const text of ['one', 'two', 'two', 'three']) await chat(kit, { messages: [user(text)] }, headers);
    expect(await conversationsOf(kit)).toEqual([{ id: 'demo', turns: 4, from: undefined }]);
    expect(lastPrompt(kit)).toHaveLength(7);
  });
});

test('an id of the form of ephemeral conversations is one of the client', async () => {
  await using kit = await open();
  const headers = { 'x-conversation-id': 'once-mine' };
  for (const text of ['one', 'two']) await chat(kit, { messages: [user(text)] }, headers);
  expect(await conversationsOf(kit)).toEqual([{ id: 'once-mine', turns: 2, from: undefined }]);
});

describe('D10: failed turns', () => {
  test.each(SHAPES)('$name: a message after an unanswered one is a separate turn', async (shape) => {
    const fail = () => [{ fail: new Error('no answer') }];
    await using kit = await doorKit(openAiDoor, { replies: ['first', fail, 'third', 'fourth'] });
    const { headers, metadata } = shape;
    const send = (...messages: unknown[]) =>
      chat(kit, { messages, ...(metadata ? { metadata } : {}) }, headers);
    await send(user('one'));
    expect((await send(user('one'), assistant('first'), user('two'))).status).toBe(500);
    const third = await send(user('one'), assistant('first'), user('two'), user('three'));
    expect(third.body).toMatchObject({
      choices: [{ message: { content: 'third' } }],
      metadata: { conversation_id: 'chat-1' },
    });
    const texts = [
      user('one'),
      assistant('first'),
      user('two'),
      user('three'),
      assistant('third'),
      user('four'),
    ];
    expect((await send(...texts)).body.metadata.conversation_id).toBe('chat-1');
    const list = await kit.client.conversations(ADDRESS).list();
    expect(list.conversations).toMatchObject([{ id: 'chat-1', turns: 4 }]);
  });
});

describe('D7: helper prompts of Open WebUI', () => {
  const title =
    '### Task:\nGenerate a concise, 3-5 word title with an emoji.\n<chat_history>USER: one</chat_history>';
  const requests: [string, Record<string, unknown>, Record<string, string>][] = [
    ['with a task in a header', {}, { 'x-openwebui-task': 'title_generation' }],
    ['with a task in metadata', { metadata: { task: 'tags_generation' } }, {}],
    ['to the task model', { model: 'chat:task' }, {}],
    ['to the task model by address', { model: `${ADDRESS}:task` }, {}],
    ['as Open WebUI sends them by default', {}, {}],
  ];

  test.each(requests)('%s leave the journal unchanged', async (_how, body, headers) => {
    await using kit = await open();
    const person = new Chat(kit, openWebUi);
    await person.send('one');
    const conversations = kit.client.conversations(ADDRESS);
    const before = await conversations.readEvents('chat-1');
    const answer = await chat(
      kit,
      { messages: [user(title)], stream: false, ...body },
      { ...openWebUi.headers, ...headers },
    );
    expect(answer.body.choices[0]!.message.content).toBe('Answer 1');
    expect(await conversations.readEvents('chat-1')).toEqual(before);
    expect(await conversationsOf(kit)).toEqual([{ id: 'chat-1', turns: 1, from: undefined }]);
    expect(idOf(await person.send('two'))).toBe('chat-1');
    expect(lastPrompt(kit)).toEqual(['one', 'Answer 0', 'two']);
  });

  test('an unreplaced placeholder is not a task', async () => {
    await using kit = await open();
    const headers = { ...openWebUi.headers, 'x-openwebui-task': '{{TASK}}' };
    const answer = await chat(kit, { messages: [user('one')] }, headers);
    expect(idOf(answer)).toBe('chat-1');
  });
});

test('a system prompt that changes from day to day reaches the model', async () => {
  const clock = new ManualClock();
  await using kit = await doorKit(openAiDoor, { replies: [reply('a'), reply('b')], clock });
  const headers = { 'x-conversation-id': 'c' };
  await chat(kit, { messages: [system('Monday'), user('one')] }, headers);
  await chat(kit, { messages: [system('Tuesday'), user('one'), assistant('a'), user('two')] }, headers);
  expect(kit.model.requests.map(({ messages }) => messages[0])).toEqual([
    system('Monday'),
    system('Tuesday'),
  ]);
});
