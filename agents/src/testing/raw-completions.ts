// A Chat Completions server that sends exactly what a test tells it to, and a chat agent with tools that asks it. It is for answers
// that no correct server sends; `openai-server.ts` is the correct one.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isFabricError } from '@fame-fabric/shared';
import { z } from 'zod';
import { ChatAgent, type ChatAgentOptions } from '../conversation/chat-agent.ts';
import type { ModelMessage, ToolCall, Usage } from '../model/model.ts';
import { type OpenAIModelOptions, openaiModel } from '../model/openai/openai-model.ts';
import { EVENT_STREAM_HEADERS, event, sendJson } from '../model/openai/openai-wire.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { servedChat } from './served-chat.ts';

type Loose = Record<string, unknown>;
/** Fields of a message that a test looks at. */
export type WireMessage = ModelMessage & {
  tool_calls?: (ToolCall & { extra_content?: unknown })[];
  reasoning_content?: string;
};

export interface RawRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Loose & { messages: WireMessage[] };
}

/** A `chat.completion.chunk` with one choice. */
export const chunk = (delta: Loose | null, finish: string | null = null, more: Loose = {}): Loose => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more,
});

/** A tool call in one piece. */
export const callOf = (name: string, args: unknown, id: string | undefined = 'call_1', index = 0): Loose => ({
  index,
  id,
  type: 'function',
  function: { name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
});

export const USAGE: Usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };

/** Text that is written as it is, in place of an event. */
export const raw = (text: string) => ({ raw: text });

/** One answer of the server. */
export class RawAnswer {
  readonly request: RawRequest;
  /** Number of the request, from 1. */
  readonly n: number;
  readonly response: ServerResponse;

  constructor(request: RawRequest, n: number, response: ServerResponse) {
    this.request = request;
    this.n = n;
    this.response = response;
  }

  get messages(): WireMessage[] {
    return this.request.body.messages;
  }

  /** Sends each item as an event. */
  stream(items: readonly (Loose | string)[], headers: Record<string, string> = EVENT_STREAM_HEADERS): void {
    this.response.writeHead(200, headers);
    for (const item of items) {
      this.response.write(typeof item === 'object' && typeof item.raw === 'string' ? item.raw : event(item));
    }
    this.response.end();
  }

  say(text: string, finish = 'stop'): void {
    this.stream([
      chunk({ role: 'assistant', content: '' }),
      chunk({ content: text }),
      chunk({}, finish),
      { ...chunk({}), choices: [], usage: USAGE },
      '[DONE]',
    ]);
  }

  /** Sends each delta of `tool_calls` in a chunk of its own. */
  calls(deltas: readonly Loose[], finish = 'tool_calls'): void {
    this.stream([
      chunk({ role: 'assistant', content: null }),
      ...deltas.map((delta) => chunk({ tool_calls: [delta] })),
      chunk({}, finish),
      { ...chunk({}), choices: [], usage: USAGE },
      '[DONE]',
    ]);
  }

  json(status: number, body: unknown): void {
    sendJson(this.response, status, body);
  }

  error(status: number, message: string, more: Loose = {}): void {
    this.json(status, {
      error: { message, type: 'invalid_request_error', param: null, code: null, ...more },
    });
  }
}

export type RawServe = (answer: RawAnswer) => void | Promise<void>;

/** Starts a server; `close` ends its connections too. */
export async function rawServer(
  serve: RawServe,
): Promise<{ origin: string; requests: RawRequest[]; close(): void }> {
  const requests: RawRequest[] = [];
  const http = createServer(async (message, response) => {
    let text = '';
    for await (const part of message.setEncoding('utf8')) text += part;
    const body = (text === '' ? {} : JSON.parse(text)) as RawRequest['body'];
    const request = { url: message.url ?? '', method: message.method ?? '', headers: message.headers, body };
    requests.push(request);
    try {
      await serve(new RawAnswer(request, requests.length, response));
    } catch (error) {
      response.destroy(error as Error);
    }
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    requests,
    close: () => {
      http.close();
      http.closeAllConnections();
    },
  };
}

/** What came of a turn: its text, or `code: message` of its error. */
export interface RawTurn {
  readonly text: string | undefined;
  readonly error: string | undefined;
  readonly finish: string | undefined;
  readonly usage: Usage | undefined;
}

export interface RawOutcome {
  readonly turns: readonly RawTurn[];
  /** The calls that ran, as `name{"args":...}`. */
  readonly ran: readonly string[];
  readonly requests: readonly RawRequest[];
  /** Contents of the tool messages of the last request. */
  readonly results: readonly string[];
}

export interface RawOptions {
  /** Messages of the user. @default ['Hi'] */
  texts?: readonly string[];
  /** @default '/v1' */
  path?: string;
  model?: Partial<OpenAIModelOptions>;
  agent?: ChatAgentOptions;
}

/** Runs turns of a chat agent against a server. */
export async function runRaw(serve: RawServe, options: RawOptions = {}): Promise<RawOutcome> {
  const server = await rawServer(serve);
  const ran: string[] = [];
  const model = openaiModel({
    model: 'm',
    baseURL: `${server.origin}${options.path ?? '/v1'}`,
    timeoutMs: 4_000,
    random: () => 0,
    ...options.model,
  });
  const chat = await servedChat(new ChatAgent({ model, tools: tools(ran), ...options.agent }));
  const turns: RawTurn[] = [];
  try {
    const { id } = await chat.start();
    for (const text of options.texts ?? ['Hi']) turns.push(await turnOf(chat.call, id, text, turns.length));
  } finally {
    await chat.close();
    server.close();
  }
  const messages = server.requests.at(-1)?.body.messages ?? [];
  const results = messages.flatMap((one) => (one.role === 'tool' ? [one.content] : []));
  return { turns, ran, requests: server.requests, results };
}

async function turnOf(
  call: Awaited<ReturnType<typeof servedChat>>['call'],
  conversation_id: string,
  user_message: string,
  n: number,
): Promise<RawTurn> {
  const params = { conversation_id, user_message, turn_id: `t${n}`, answer: 'outcome' };
  try {
    const { text, finish, usage, error } = await call<{
      text: string;
      finish: string;
      usage: Usage;
      error?: { code: string; message: string };
    }>('run_turn', params);
    if (error) return { text: undefined, error: `${error.code}: ${error.message}`, finish: undefined, usage };
    return { text, finish, usage, error: undefined };
  } catch (error) {
    if (!isFabricError(error)) throw error;
    return { text: undefined, error: `${error.code}: ${error.message}`, finish: undefined, usage: undefined };
  }
}

function tools(ran: string[]): ToolSet {
  const note = (name: string, args: unknown): void => {
    ran.push(`${name}${JSON.stringify(args)}`);
  };
  return new ToolSet([
    tool({
      name: 'get_weather',
      description: 'Weather of a city',
      parameters: z.object({ city: z.string(), unit: z.enum(['celsius', 'fahrenheit']).optional() }),
      execute: (args) => {
        note('get_weather', args);
        return { city: args.city, sky: 'sun' };
      },
    }),
    tool({
      name: 'get_time',
      description: 'The time',
      parameters: z.object({}),
      execute: (args) => {
        note('get_time', args);
        return { time: '12:00' };
      },
    }),
    tool({
      name: 'add',
      description: 'Adds two numbers',
      parameters: z.object({ a: z.number(), b: z.number() }),
      execute: (args) => {
        note('add', args);
        return { sum: args.a + args.b };
      },
    }),
  ]);
}
