// The program that `store-crash.test.ts` kills: a conversation host on a store in a file, with requests on stdin and answers on
// stdout, one line of JSON each. Its model calls a tool and then echoes the message, slowly enough to be killed at any point.
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import {
  type ChatModel,
  type ModelChunk,
  type ModelRequest,
  SqliteStore,
  ToolSet,
  tool,
} from '@fame-fabric/agents';
import { ChatTurns, ConversationHost, textOf } from '@fame-fabric/agents/internal';
import { checkTranscript } from '@fame-fabric/agents/testing';
import { z } from 'zod';

interface Question {
  conversationId: string;
  turnId: string;
  userMessage: string;
}

const [path, notes] = process.argv.slice(2) as [string, string];
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const note = (line: string): void => appendFileSync(notes, `${line}\n`);

const model: ChatModel = {
  name: 'echo',
  async *stream(request: ModelRequest): AsyncGenerator<ModelChunk> {
    const { messages } = request;
    for (const { message } of checkTranscript(request)) note(`invalid ${message}`);
    const last = messages.findLast((message) => message.role === 'user')!.content;
    const isSecond = messages.at(-1)!.role === 'tool';
    note(`model ${last} ${isSecond ? 2 : 1}`);
    const words = isSecond ? ['you', ' said', ' ', ...last] : ['let', ' me', ' see'];
    for (const content of words) {
      await pause(2);
      yield { choices: [{ delta: { content } }] };
    }
    if (!isSecond) {
      const call = { index: 0, id: 'call', function: { name: 'look', arguments: JSON.stringify({ last }) } };
      yield { choices: [{ delta: { tool_calls: [call] } }] };
    }
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    yield { choices: [{ delta: {}, finish_reason: isSecond ? 'stop' : 'tool_calls' }], usage };
  },
};
const look = tool({
  name: 'look',
  description: 'Looks.',
  parameters: z.object({ last: z.string() }),
  execute: async ({ last }) => {
    note(`tool ${last}`);
    await pause(3);
    return 'seen';
  },
});

const host = new ConversationHost({
  runner: new ChatTurns({ model, tools: new ToolSet([look]) }),
  store: await SqliteStore.open({ path }),
  agent: 'crash@fame.fabric',
});
await host.open();
process.stdout.write('ready\n');

async function answer({ conversationId, turnId, userMessage }: Question): Promise<void> {
  const options = { systemPrompt: '', maxHistoryLength: 3, turnPolicy: 'queue' as const };
  await host.start({ id: conversationId, callId: `start-${conversationId}`, options });
  const turn = await host.turn({ conversationId, turnId, userMessage });
  const line = JSON.stringify({ turnId, text: textOf(await turn.outcome) });
  process.stdout.write(`${line}\n`);
}
createInterface({ input: process.stdin }).on('line', (line) => {
  answer(JSON.parse(line) as Question).catch((error: unknown) => note(`error ${String(error)}`));
});
