// The chat loop of the Agere tutorial on our own task tree. A round is a job that ends when all of its work has ended. The answer
// forks into text and tool calls; tool results lead to another answer in the same round; at the end of a round the user is
// asked for the next question. Run it with `node agents/examples/agere-loop.ts` after `npm run build`; "exit" leaves. It uses the
// model server of OPENAI_API_KEY or OPENAI_BASE_URL, or else the built-in offline model.
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import {
  type ChatModel,
  isMain,
  type ModelMessage,
  modelFromEnv,
  standardTools,
  ToolSet,
} from '@fame-fabric/agents';
import {
  Commander,
  defineHandler,
  defineJob,
  type JobRef,
  type ParsedToolCall,
  splitToolStream,
  toolMessage,
  type UserText,
} from '@fame-fabric/agents/workflow';

export interface Chat {
  model: ChatModel;
  tools: ToolSet;
  messages: ModelMessage[];
  ui: { write(text: string): void; ask(): Promise<string> };
}

const userText = defineHandler('user_text', async (_self, text: AsyncIterable<UserText>, { ui }: Chat) => {
  ui.write(`\n${styleText('red', 'GPT:')}\n`);
  for await (const piece of text) ui.write(piece.text);
  ui.write('\n\n');
});

const toolCalls = defineHandler('tool_calls', (self, calls: AsyncIterable<ParsedToolCall>, chat: Chat) =>
  chat.tools.executeAll(announced(calls, chat), { signal: self.signal }),
);

/** Writes a line about each call before it runs. */
async function* announced(calls: AsyncIterable<ParsedToolCall>, { ui }: Chat) {
  for await (const call of calls) {
    const args = call.ok ? Object.entries(call.args).map(([name, value]) => `${name}=${value}`) : [];
    ui.write(`\nFunction call: ${call.name}(${args.join(', ')}); ID: ${call.id}.\n`);
    yield call;
  }
}

const response = defineHandler('response', async (self, chat: Chat) => {
  const request = { messages: [...chat.messages], tools: chat.tools.specs() };
  const answer = splitToolStream(chat.model.stream(request, self), self);
  const { outcomes } = await self.fork({
    text: userText(answer.toUser, chat),
    outcomes: toolCalls(answer.toolCalls, chat),
  });
  chat.messages.push((await answer.done).message, ...outcomes.map(toolMessage));
  if (outcomes.length > 0) self.putJob(answerOf(chat));
});

const answerOf = defineJob('chat', (_self, chat: Chat) => response(chat));

/** One round: the answer to the last message with all of its tool calls. The next question starts a new round. */
export const round = (chat: Chat): JobRef =>
  answerOf(chat).on('at_job_end', async ({ commander }) => {
    const question = await chat.ui.ask();
    if (question === 'exit') return commander.requestExit('QUIT');
    chat.messages.push({ role: 'user', content: question });
    commander.submit(round(chat));
  });

if (isMain(import.meta)) {
  const terminal = createInterface({ input: process.stdin });
  const lines = terminal[Symbol.asyncIterator]();
  const ui = {
    write: (text: string) => void process.stdout.write(text),
    ask: async () => {
      process.stdout.write(`${styleText('green', 'YOU:')}\n`);
      const line = await lines.next();
      return line.done ? 'exit' : line.value;
    },
  };
  const first = await ui.ask();
  const messages: ModelMessage[] = [{ role: 'user', content: first }];
  const chat: Chat = { model: modelFromEnv(), tools: new ToolSet(standardTools()), messages, ui };
  console.log(first === 'exit' ? 'QUIT' : await new Commander().run(round(chat)));
  terminal.close();
}
