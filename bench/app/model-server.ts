// The model server of the application bench, for both contestants. The user's message says how many chunks to stream, and how
// many per second. The text of a chunk is the time at which it was sent, so that its reader can measure the delay.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerCommands } from '../child.ts';
import { nowUs } from './time.ts';

/** The user's message, as JSON. */
export interface Order {
  readonly chunks: number;
  /** 0 for as fast as possible: one chunk in each turn of the event loop. */
  readonly perSecond: number;
}

/** Resets the peak, or returns it. */
export type ModelCommand = { cmd: 'url' } | { cmd: 'resetPeak' } | { cmd: 'peak' };

let open = 0;
let peak = 0;

const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'bench' };
const event = (body: object): string => `data: ${JSON.stringify({ ...HEAD, ...body })}\n\n`;
const chunk = (delta: object, finish_reason: string | null = null): string =>
  event({ choices: [{ index: 0, delta, logprobs: null, finish_reason }] });

function stream(response: ServerResponse, { chunks, perSecond }: Order): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  let sent = 0;
  // Returns false after the last chunk.
  const sendNext = (): boolean => {
    const delta = { content: `${nowUs()} ` };
    response.write(chunk(sent === 0 ? { role: 'assistant', ...delta } : delta));
    sent += 1;
    if (sent < chunks) return true;
    response.write(chunk({}, 'stop'));
    const usage = { prompt_tokens: 10, completion_tokens: chunks, total_tokens: chunks + 10 };
    response.write(event({ choices: [], usage }));
    response.end('data: [DONE]\n\n');
    return false;
  };
  if (perSecond > 0) {
    const timer = setInterval(() => {
      if (!sendNext()) clearInterval(timer);
    }, 1_000 / perSecond);
    response.on('close', () => clearInterval(timer));
    if (!sendNext()) clearInterval(timer);
    return;
  }
  const pump = (): void => {
    if (response.destroyed || !sendNext()) return;
    if (response.writableNeedDrain) response.once('drain', pump);
    else setImmediate(pump);
  };
  pump();
}

const server = createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (text) => {
    body += text;
  });
  request.on('end', () => {
    const { messages } = JSON.parse(body) as { messages: { content: string }[] };
    open += 1;
    peak = Math.max(peak, open);
    response.on('close', () => {
      open -= 1;
    });
    stream(response, JSON.parse(messages.at(-1)!.content) as Order);
  });
});
server.keepAliveTimeout = 600_000;
const listening = new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

answerCommands<ModelCommand>(async ({ cmd }) => {
  if (cmd === 'peak') return peak;
  if (cmd === 'resetPeak') peak = open;
  await listening;
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
});
