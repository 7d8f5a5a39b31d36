// The contestant of the fabric: a chat server as one would write it without our packages, with Fastify, the `openai` package and
// server-sent events. A Map has the histories of the conversations. With a path as second argument it also writes a journal with the
// durability of ours, in the cheapest form: a message is on the disk before the model is asked, text a second later, and the answer before
// the turn ends.
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { OpenAI } from 'openai';
import { answerCommands } from '../child.ts';
import { AppendLog } from './append-log.ts';

type Message = { role: 'system' | 'user' | 'assistant'; content: string };

/** The number of turns that our agents keep by default. */
const MAX_TURNS = 10;

/** Text waits for up to `TEXT_MS`, until the next point of a grid, so that conversations share writes. As in our agents. */
const TEXT_MS = 1_000;
const TEXT_GRID_MS = 100;

const [, , modelUrl, journalPath] = process.argv;
const log = journalPath === undefined ? undefined : new AppendLog(journalPath);
const client = new OpenAI({ apiKey: 'none', baseURL: modelUrl!, maxRetries: 0 });
const histories = new Map<string, Message[]>();
const app = Fastify({ keepAliveTimeout: 600_000 });

app.post('/chat', async (request, reply) => {
  const { conversation, message } = request.body as { conversation: string; message: string };
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
  const send = (event: object): boolean => raw.write(`data: ${JSON.stringify(event)}\n\n`);
  const aborted = new AbortController();
  raw.on('close', () => aborted.abort());
  const history = histories.get(conversation) ?? [];
  const user: Message = { role: 'user', content: message };
  let text = '';
  let writtenChars = 0;
  let textTimer: NodeJS.Timeout | undefined;
  const writeText = (): void => {
    textTimer = undefined;
    log?.append({ conversation, text: text.slice(writtenChars) }).catch((error) => raw.destroy(error));
    writtenChars = text.length;
  };
  try {
    await log?.append({ conversation, user: message });
    const stream = await client.chat.completions.create(
      {
        model: 'bench',
        messages: [{ role: 'system', content: 'Be brief.' }, ...history, user],
        max_completion_tokens: 4_096,
        stream: true,
        stream_options: { include_usage: true },
      },
      { signal: aborted.signal },
    );
    let usage: unknown;
    for await (const chunk of stream) {
      usage = chunk.usage ?? usage;
      const piece = chunk.choices[0]?.delta.content;
      if (!piece) continue;
      text += piece;
      if (log) textTimer ??= setTimeout(writeText, TEXT_MS - (performance.now() % TEXT_GRID_MS));
      send({ type: 'text', text: piece });
    }
    history.push(user, { role: 'assistant', content: text });
    histories.set(conversation, history.slice(-2 * MAX_TURNS));
    clearTimeout(textTimer);
    await log?.append({ conversation, assistant: text, usage });
    send({ type: 'done', text, usage });
  } catch (error) {
    clearTimeout(textTimer);
    send({ type: 'error', message: String(error) });
  }
  raw.end();
});

const listening = app.listen({ port: 0, host: '127.0.0.1' });
answerCommands(async () => {
  await listening;
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/chat`;
});
