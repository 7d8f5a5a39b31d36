// Clients of the doors that lose their connections: each repeats or continues its request by the means of its protocol, until it has the
// whole answer.
import type { UserTurn } from './fabric.ts';

export const MATRIX_DOORS = ['Chat Completions', 'Responses', 'A2A', 'MCP', 'HTTP'] as const;
export type MatrixDoor = (typeof MATRIX_DOORS)[number];

/** Sends a turn, and resolves to its text. `base` is the URL of the door. */
type DoorClient = (base: string, turn: UserTurn) => Promise<string>;

// biome-ignore lint/suspicious/noExplicitAny: the fields of answers are checked by their use
type Json = Record<string, any>;
/** One attempt: the text, or undefined if the answer is not whole. */
type Attempt = (count: number) => Promise<string | undefined>;

const LIMIT_MS = 60_000;
const PAUSE_MS = 100;
/** Statuses after which the protocols' own libraries repeat a request. */
const RETRIED: ReadonlySet<number> = new Set([408, 409, 429, 500, 502, 503, 504]);

/** An answer that repeating the request does not change. */
class Refused extends Error {}

/** Repeats an attempt whose connection was lost. */
async function untilWhole(attempt: Attempt): Promise<string> {
  const deadline = performance.now() + LIMIT_MS;
  let last = 'the answer was cut';
  for (let count = 0; performance.now() < deadline; count += 1) {
    try {
      const text = await attempt(count);
      if (text !== undefined) return text;
    } catch (error) {
      if (error instanceof Refused) throw error;
      last = String(error);
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  throw new Error(`No whole answer within ${LIMIT_MS} ms: ${last}`);
}

async function request(url: string, init: RequestInit): Promise<Response> {
  const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(LIMIT_MS) });
  if (answer.ok) return answer;
  const text = await answer.text();
  // After a restart of the sentinel there is no agent until it has attached again.
  if (RETRIED.has(answer.status) || text.includes('"NO_ROUTE"')) throw new Error(`${answer.status} ${text}`);
  throw new Refused(`${answer.status} ${text}`);
}

const post = (url: string, body: Json, headers: Record<string, string> = {}): Promise<Response> =>
  request(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

interface ServerEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: string;
}

/** Reads the events of a stream until it ends or breaks. The caller finds out by the last event whether the answer is whole. */
async function eventsOf(response: Response): Promise<ServerEvent[]> {
  const decoder = new TextDecoder();
  let text = '';
  try {
    for await (const bytes of response.body!) text += decoder.decode(bytes, { stream: true });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // any other error than a lost connection
  }
  return text
    .split('\n\n')
    .slice(0, -1)
    .flatMap((block) => {
      const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
      const data = field('data');
      return data === undefined ? [] : [{ event: field('event') ?? '', id: field('id'), data }];
    });
}

/** Sends the request again, as the official libraries do. A whole stream ends with `[DONE]`. */
const chatCompletions: DoorClient = (base, { conversationId, turnId, text: content }) =>
  untilWhole(async (count) => {
    const answer = await post(
      `${base}/v1/chat/completions`,
      { model: 'chat', stream: true, messages: [{ role: 'user', content }] },
      {
        'x-conversation-id': conversationId,
        'idempotency-key': turnId,
        'x-stainless-retry-count': String(count),
      },
    );
    let text = '';
    for (const { data } of await eventsOf(answer)) {
      if (data === '[DONE]') return text;
      text += (JSON.parse(data) as Json).choices?.[0]?.delta.content ?? '';
    }
    return undefined;
  });

/** Retrieves the response if its id has arrived, else sends the request again. */
const responses: DoorClient = (base, { turnId, text: input }) => {
  let id: string | undefined;
  return untilWhole(async (count) => {
    if (id !== undefined) {
      const response = (await (await request(`${base}/v1/responses/${id}`, {})).json()) as Json;
      if (response.status === 'in_progress') return undefined;
      return textOfResponse(response);
    }
    const headers = { 'idempotency-key': turnId, 'x-stainless-retry-count': String(count) };
    const answer = await post(`${base}/v1/responses`, { model: 'chat', stream: true, input }, headers);
    for (const { data } of await eventsOf(answer)) {
      if (data === '[DONE]') break;
      const { type, response } = JSON.parse(data) as Json;
      id ??= response?.id as string | undefined;
      if (type === 'response.completed') return textOfResponse(response);
    }
    return undefined;
  });
};

function textOfResponse({ status, output, error }: Json): string {
  if (status !== 'completed') throw new Refused(`The response is ${status}: ${JSON.stringify(error)}`);
  return (output as Json[])
    .flatMap(({ content }) => (content ?? []) as Json[])
    .map(({ text }) => String(text ?? ''))
    .join('');
}

/** Sends the message again with its id. The task of the first one answers. */
const a2a: DoorClient = (base, { nonce, text }) => {
  const message = { messageId: `message-${nonce}`, role: 'ROLE_USER', parts: [{ text }] };
  return untilWhole(async (count) => {
    const method = count === 0 ? 'SendStreamingMessage' : 'SendMessage';
    const body = { jsonrpc: '2.0', id: 1, method, params: { message } };
    const answer = await post(`${base}/a2a`, body, { 'a2a-version': '1.0' });
    if (count > 0) return textOfTask(((await answer.json()) as Json).result?.task);
    let artifacts = '';
    for (const { data } of await eventsOf(answer)) {
      const { task, artifactUpdate, statusUpdate } = ((JSON.parse(data) as Json).result ?? {}) as Json;
      if (artifactUpdate) {
        const piece = textOfArtifacts([artifactUpdate.artifact]);
        artifacts = artifactUpdate.append ? artifacts + piece : piece;
      }
      if (task) artifacts = textOfArtifacts(task.artifacts);
      if ((task ?? statusUpdate)?.status.state === 'TASK_STATE_COMPLETED') return artifacts;
    }
    return undefined;
  });
};

const textOfTask = (task: Json | undefined): string | undefined =>
  task?.status.state === 'TASK_STATE_COMPLETED' ? textOfArtifacts(task.artifacts) : undefined;

const textOfArtifacts = (artifacts: Json[] = []): string =>
  artifacts.flatMap(({ parts }) => parts.map(({ text = '' }: Json) => text)).join('');

const REVISION = '2026-07-28';

/** Calls the tool again with its key. */
const mcp: DoorClient = (base, { turnId, text: message }) =>
  untilWhole(async () => {
    const params = {
      name: 'ask_agent',
      arguments: { message },
      _meta: {
        'io.modelcontextprotocol/protocolVersion': REVISION,
        'io.modelcontextprotocol/clientInfo': { name: 'matrix', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
        'fame/idempotency_key': turnId,
      },
    };
    const answer = await post(
      `${base}/mcp`,
      { jsonrpc: '2.0', id: 1, method: 'tools/call', params },
      {
        accept: 'application/json, text/event-stream',
        'mcp-protocol-version': REVISION,
        'mcp-method': 'tools/call',
        'mcp-name': 'ask_agent',
      },
    );
    const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream');
    const replies = isStream ? [] : [(await answer.json()) as Json];
    if (isStream) for (const { data } of await eventsOf(answer)) replies.push(JSON.parse(data) as Json);
    const result = replies.find((reply) => reply.result !== undefined)?.result as Json | undefined;
    if (result === undefined || result.isError === true) return undefined;
    return (result.content as Json[]).map(({ text }) => text).join('');
  });

/** Continues the stream of the turn after the last event, and takes back the text that a `restart` names. */
const http: DoorClient = (base, { conversationId, turnId, text: user_message }) => {
  let text = '';
  let last: string | undefined;
  const events = { accept: 'text/event-stream' };
  const path = `${base}/agents/chat/turns/${turnId}?conversation_id=${conversationId}`;
  const open = (): Promise<Response> =>
    last === undefined
      ? post(
          `${base}/agents/chat/run_turn`,
          { conversation_id: conversationId, turn_id: turnId, user_message },
          events,
        )
      : request(path, { headers: { ...events, 'last-event-id': last } });
  return untilWhole(async () => {
    for (const { event, id, data } of await eventsOf(await open())) {
      const fields = JSON.parse(data) as Json;
      if (event === 'text') text += fields.text;
      if (event === 'restart') text = text.slice(0, fields.keep);
      if (event === 'done') return text;
      last = id ?? last;
    }
    return undefined;
  });
};

export const CLIENTS: Readonly<Record<MatrixDoor, DoorClient>> = {
  'Chat Completions': chatCompletions,
  Responses: responses,
  A2A: a2a,
  MCP: mcp,
  HTTP: http,
};
