// Runs a chat agent with small tools against a model server that a test scripts: a raw HTTP server with one handler. Requests are
// checked as the strictest servers check them.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isFabricError } from '@fame-fabric/shared';
import { z } from 'zod';
import { ChatAgent } from '../conversation/chat-agent.ts';
import type { Usage } from '../model/model.ts';
import { openaiModel } from '../model/openai/openai-model.ts';
import { EVENT_STREAM_HEADERS, event, readJson, sendJson } from '../model/openai/openai-wire.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { servedChat } from './served-chat.ts';
import { checkTranscript } from './transcript-validator.ts';

interface CaseMessage {
  readonly role: string;
  readonly content: string | null;
  readonly tool_call_id?: string;
  readonly tool_calls?: readonly { id: string; function: { name: string; arguments: string } }[];
}

/** A request and the means to answer it. */
export class CaseRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly body: {
    readonly messages: readonly CaseMessage[];
    readonly tools?: readonly unknown[];
    readonly max_tokens?: number;
    readonly [key: string]: unknown;
  };
  /** Its number, from 1. */
  readonly n: number;

  constructor(request: IncomingMessage, response: ServerResponse, body: object, n: number) {
    this.request = request;
    this.response = response;
    this.body = body as CaseRequest['body'];
    this.n = n;
  }

  get messages(): readonly CaseMessage[] {
    return this.body.messages;
  }

  /** Contents of the tool messages. */
  get results(): readonly string[] {
    return this.messages.flatMap(({ role, content }) => (role === 'tool' ? [content ?? ''] : []));
  }

  /** Sends events. A `{ raw }` is sent unchanged. */
  events(...events: readonly unknown[]): void {
    this.response.writeHead(200, EVENT_STREAM_HEADERS);
    const texts = events.map((one) => (isRaw(one) ? one.raw : event(one)));
    this.response.end(texts.join(''));
  }

  say(text: string, finish: unknown = 'stop'): void {
    this.events(chunk({ role: 'assistant', content: text }), chunk({}, finish), '[DONE]');
  }

  calls(...calls: readonly object[]): void {
    this.events(...calls.map((call) => chunk({ tool_calls: [call] })), chunk({}, 'tool_calls'), '[DONE]');
  }

  json(status: number, body: unknown): void {
    sendJson(this.response, status, body as object);
  }

  refuse(status: number, message: string, more: object = {}): void {
    this.json(status, {
      error: { message, type: 'invalid_request_error', param: null, code: null, ...more },
    });
  }
}

const isRaw = (value: unknown): value is { raw: string } =>
  typeof value === 'object' && value !== null && 'raw' in value;

export const chunk = (delta: unknown, finish: unknown = null): object => ({
  choices: [{ index: 0, delta, finish_reason: finish }],
});

/** A call in one piece. */
export const call = (
  name: string | undefined,
  args: unknown,
  id: string | undefined = 'call_1',
  index = 0,
): object => ({
  index,
  id,
  type: 'function',
  function: { name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
});

export interface CaseOptions {
  /** @default one turn `Hi` */
  turns?: readonly string[];
  /** @default /v1 */
  path?: string;
  apiKey?: string;
  systemPrompt?: string;
  /** Options of every turn. */
  options?: object;
}

interface CaseTurn {
  readonly answer?: string;
  /** Code and message. */
  readonly error?: string;
  readonly finish?: string;
  /** The text before the error. */
  readonly text?: string;
}

interface Outcome {
  state: string;
  text: string;
  finish: string;
  error: { code: string; message: string };
  usage: Usage;
}

export interface CaseResult {
  readonly turns: readonly CaseTurn[];
  readonly requests: readonly CaseRequest[];
  /** Tokens of each turn. */
  readonly usages: readonly Usage[];
  /** Calls that ran, such as `get_weather{"city":"Lima"}`. */
  readonly ran: readonly string[];
  /** Messages of the requests that a strict server would refuse. */
  readonly faults: readonly string[];
}

/** Runs the turns of a case. */
export async function runCase(
  serve: (request: CaseRequest) => void,
  { turns = ['Hi'], path = '/v1', apiKey, systemPrompt, options }: CaseOptions = {},
): Promise<CaseResult> {
  const requests: CaseRequest[] = [];
  const faults: string[] = [];
  const usages: Usage[] = [];
  const http = createServer(async (request, response) => {
    const body = request.method === 'POST' ? await readJson(request, 4_194_304) : {};
    if (request.method === 'POST')
      faults.push(...checkTranscript(body, { wire: true }).map(({ message }) => message));
    const one = new CaseRequest(request, response, body as object, requests.length + 1);
    requests.push(one);
    serve(one);
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const baseURL = `http://127.0.0.1:${(http.address() as AddressInfo).port}${path}`;
  const ran: string[] = [];
  const agent = new ChatAgent({
    model: openaiModel({ model: 'm', baseURL, apiKey, random: () => 0 }),
    tools: toolsOf(ran),
    store: new MemoryStore(),
    ...(systemPrompt === undefined ? {} : { systemPrompt }),
  });
  const chat = await servedChat(agent);
  try {
    const { id } = await chat.start();
    const say = async (message: string, i: number): Promise<CaseTurn> => {
      try {
        const params = { conversation_id: id, user_message: message, turn_id: `t${i}`, answer: 'outcome' };
        const { state, text, finish, error, usage } = await chat.call<Outcome>('run_turn', {
          ...params,
          ...(options ? { options } : {}),
        });
        usages.push(usage);
        return state === 'completed'
          ? { answer: text, finish }
          : { error: `${error.code}: ${error.message}`, text };
      } catch (error) {
        if (!isFabricError(error)) throw error;
        return { error: `${error.code}: ${error.message}` };
      }
    };
    const done: CaseTurn[] = [];
    for (const [i, text] of turns.entries()) done.push(await say(text, i));
    return { turns: done, requests, usages, ran, faults };
  } finally {
    await chat.close();
    http.closeAllConnections();
    await new Promise<void>((resolve) => http.close(() => resolve()));
  }
}

const toolsOf = (ran: string[]): ToolSet => {
  const note = (name: string, args: unknown): void => void ran.push(`${name}${JSON.stringify(args)}`);
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
      description: 'The sum of two numbers',
      parameters: z.object({ a: z.number(), b: z.number() }),
      execute: (args) => {
        note('add', args);
        return { sum: args.a + args.b };
      },
    }),
    tool({
      name: 'cut_text',
      description: 'A text that was cut',
      parameters: z.object({}),
      execute: () => 'ab😀'.slice(0, 3),
    }),
  ]);
};
