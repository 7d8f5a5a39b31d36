// The model server of the turn benchmarks, for all contestants. The user's message sets the number of chunks, their rate, and the number
// of requests that must be open at once. The text of a chunk is the time at which it was sent, so that its reader can measure the delay,
// and its index and tag, so that its reader can check the order.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answerCommands } from '../child.ts';
import { nowUs } from './time.ts';

/** The user's message, as JSON. */
export interface Order {
  readonly chunks: number;
  /** 0 for as fast as possible: one chunk in each turn of the event loop. */
  readonly perSecond: number;
  /** The last chunk waits until this number of requests has been open at once, or for `TOGETHER_MS`. @default 1 */
  readonly together?: number;
  /** Text in each chunk, without spaces and colons. @default '' */
  readonly tag?: string;
}

/** `peak` returns the maximum number of requests that were open at once since `resetPeak`. */
export type ModelCommand = { cmd: 'url' } | { cmd: 'resetPeak' } | { cmd: 'peak' };

/** Longer than a busy machine needs to start all turns. */
const TOGETHER_MS = 20_000;

let open = 0;
let peak = 0;
/** Streams that wait to send their last chunk, with the peak that they wait for. */
const waiting = new Map<() => void, number>();

/** Calls `send` once `together` requests have been open at once. */
function whenTogether(together: number, send: () => void): void {
  if (peak >= together) {
    send();
    return;
  }
  const sendOnce = (): void => {
    clearTimeout(timer);
    if (waiting.delete(sendOnce)) send();
  };
  const timer = setTimeout(sendOnce, TOGETHER_MS);
  waiting.set(sendOnce, together);
}

function opened(): void {
  open += 1;
  peak = Math.max(peak, open);
  for (const [send, together] of waiting) if (peak >= together) send();
}

const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'bench' };
const event = (body: object): string => `data: ${JSON.stringify({ ...HEAD, ...body })}\n\n`;
const chunk = (delta: object, finish_reason: string | null = null): string =>
  event({ choices: [{ index: 0, delta, logprobs: null, finish_reason }] });

/** The event of a chunk with text, in two parts. */
const [TEXT_HEAD, TEXT_TAIL] = chunk({ content: '|' }).split('|') as [string, string];

function stream(response: ServerResponse, { chunks, perSecond, together = 1, tag = '' }: Order): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  let sent = 0;
  const send = (): void => {
    const content = `${nowUs()}:${sent}:${tag} `;
    response.write(sent === 0 ? chunk({ role: 'assistant', content }) : TEXT_HEAD + content + TEXT_TAIL);
    sent += 1;
  };
  const sendLast = (): void => {
    send();
    response.write(chunk({}, 'stop'));
    const usage = { prompt_tokens: 10, completion_tokens: chunks, total_tokens: chunks + 10 };
    response.write(event({ choices: [], usage }));
    response.end('data: [DONE]\n\n');
  };
  // Returns false after the last chunk.
  const sendNext = (): boolean => {
    if (sent < chunks - 1) {
      send();
      return true;
    }
    whenTogether(together, sendLast);
    return false;
  };
  if (perSecond > 0) {
    const timer = setInterval(() => {
      if (!sendNext()) clearInterval(timer);
    }, 1_000 / perSecond);
    response.on('close', () => clearInterval(timer));
    sendNext();
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
    opened();
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
