// Calls of operations: `POST /agents/ADDRESS/OPERATION` with the parameters as JSON. `turn-run.ts` handles turns of chat agents.
import { createHash } from 'node:crypto';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { closestMatch } from '@fame-fabric/shared/internal';
import type { DoorDeps } from '../door.ts';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from '../fastify.ts';
import { leftSignal } from '../shared/left-signal.ts';
import { sse } from '../shared/sse.ts';
import { baseUrlOf, curlOf, pathOf } from './examples.ts';
import { findAgent } from './find-agent.ts';
import { httpError, httpRefusal } from './http-error.ts';
import { sendJson, wantsEvents } from './json.ts';
import { isTurn, runTurn } from './turn-run.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
const MAX_TIMEOUT_MS = 900_000;
/** Limit of a stream that is answered as one array, in characters of JSON. */
const MAX_ARRAY_CHARS = 8_388_608;

/** Streaming operations that `describe` does not list. */
const STREAMING_TASKS: ReadonlySet<string> = new Set(['tasks/sendSubscribe', 'tasks/resubscribe']);

interface CallRequest {
  Params: { name: string; '*': string };
  Querystring: { timeout_ms?: string };
}

export function callRoutes(app: FastifyInstance, deps: DoorDeps): void {
  const calls = new IdempotentCalls();
  app.post<CallRequest>('/agents/:name/*', async (request, reply) => {
    const visitor = await visitorOf(deps.fabric, request, reply);
    const agent = await findAgent(visitor, request.params.name);
    const method = request.params['*'];
    if (isTurn(agent, method)) return runTurn({ request, reply, visitor, agent }, deps);
    const call = { request, reply, visitor, agent, method, timeoutMs: timeoutOf(request.query.timeout_ms) };
    try {
      if (wantsEvents(request)) return await answerEvents(call, deps);
      if (isStreaming(agent, method)) return sendJson(request, reply, await itemsOf(call));
      return sendJson(request, reply, await resultOf(call, calls));
    } catch (error) {
      throw explained(error, call, deps.options.publicUrl);
    }
  });
  app.post<{ Params: { name: string } }>('/agents/:name', async ({ params }) => {
    const path = pathOf(params.name);
    throw new FabricError('REQUEST_INVALID', 'The path names no operation', {
      details: { fix: `POST ${path}/OPERATION calls one. GET ${path} lists the operations.` },
    });
  });
  app.route({
    method: ['GET', 'PUT', 'PATCH', 'DELETE'],
    url: '/agents/:name/*',
    handler: async (request, reply) => {
      const error = new FabricError(
        'REQUEST_INVALID',
        `Operations are called with POST, not ${request.method}`,
        {
          details: { fix: 'Send the parameters as JSON in the body of a POST.' },
        },
      );
      const { headers, body } = httpRefusal(error);
      return reply
        .code(405)
        .header('allow', 'POST')
        .headers(headers ?? {})
        .send(body);
    },
  });
}

interface Call {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly visitor: Visitor;
  readonly agent: AgentCard;
  readonly method: string;
  readonly timeoutMs: number;
}

async function resultOf(call: Call, calls: IdempotentCalls): Promise<unknown> {
  const { request, reply, visitor, agent, method, timeoutMs } = call;
  const { client } = visitor;
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || key === '') {
    return client.call(agent.address, method, request.body, { timeoutMs, signal: leftSignal(reply) });
  }
  if (agent.isDescribed && agent.operations.some(({ name, isDurable }) => name === method && !isDurable)) {
    const text = `${method} of ${agent.address} is not durable, so Idempotency-Key would have no effect`;
    throw new FabricError('OPERATION_UNSUPPORTED', text, {
      details: { fix: 'Leave the header out, or declare the operation `durable: true`.' },
    });
  }
  // The call continues if its reader leaves, and the same key returns its outcome.
  const id = `idem-${digestOf([visitor.principal, agent.address, method, key])}`;
  return calls.run(id, digestOf([request.body ?? null]), () => {
    const release = visitor.hold();
    return client.call(agent.address, method, request.body, { timeoutMs, id, resend: true }).finally(release);
  });
}

async function itemsOf({ request, reply, visitor, agent, method, timeoutMs }: Call): Promise<unknown[]> {
  const items: unknown[] = [];
  let chars = 0;
  const options = { timeoutMs, signal: leftSignal(reply) };
  for await (const item of visitor.client.stream(agent.address, method, request.body, options)) {
    items.push(item);
    chars += JSON.stringify(item).length;
    if (chars <= MAX_ARRAY_CHARS) continue;
    throw new FabricError(
      'MESSAGE_TOO_LARGE',
      `The items of ${method} are larger than ${MAX_ARRAY_CHARS} characters`,
      {
        details: { fix: 'Read them as they arrive: Accept: text/event-stream' },
      },
    );
  }
  return items;
}

// The status is sent with the first item, so that a refused call is an HTTP error.
async function answerEvents(call: Call, { options, clock }: DoorDeps): Promise<FastifyReply> {
  const { request, reply, visitor, agent, method, timeoutMs } = call;
  const { client } = visitor;
  const callOptions = { timeoutMs, signal: leftSignal(reply) };
  const isUnary = agent.isDescribed && !isStreaming(agent, method);
  const items = isUnary
    ? one(client.call(agent.address, method, request.body, callOptions))
    : client.stream(agent.address, method, request.body, callOptions);
  const iterator = items[Symbol.asyncIterator]();
  let next = await iterator.next();
  const stream = sse(reply, { heartbeatMs: options.heartbeatMs, clock });
  try {
    for (; !next.done && !stream.isOver; next = await iterator.next()) {
      await stream.send({ event: 'item', data: JSON.stringify(next.value) });
    }
    await stream.send({ event: 'end', data: '{}' });
  } catch (error) {
    if (!isFabricError(error)) throw error;
    await stream.send({ event: 'error', data: JSON.stringify({ error: httpError(error) }) });
  } finally {
    await iterator.return?.();
    stream.end();
  }
  return reply;
}

async function* one(result: Promise<unknown>): AsyncGenerator<unknown> {
  yield await result;
}

const isStreaming = ({ operations }: AgentCard, method: string): boolean =>
  STREAMING_TASKS.has(method) || operations.some(({ name, isStreaming }) => name === method && isStreaming);

/** Adds the fix to an error of a call: the operations that exist, or an example with parameters that fit. */
function explained(error: unknown, { request, agent, method }: Call, publicUrl: string | undefined): unknown {
  if (!isFabricError(error)) return error;
  const base = baseUrlOf(request, publicUrl);
  const names = agent.operations.map(({ name }) => name);
  if (error.code === 'METHOD_NOT_FOUND' && !names.includes(method)) {
    const near = closestMatch(method, names);
    const operation = agent.operations.find(({ name }) => name === near) ?? agent.operations[0];
    const known = names.length > 0 ? `It has: ${names.slice(0, 40).join(', ')}.` : '';
    return new FabricError(
      'METHOD_NOT_FOUND',
      `${agent.address} has no operation "${method.slice(0, 128)}"`,
      {
        cause: error,
        details: {
          fix: near ? `Did you mean ${near}?` : known,
          ...(operation ? { example: curlOf(base, agent, operation) } : {}),
        },
      },
    );
  }
  const operation = agent.operations.find(({ name }) => name === method);
  if (error.code !== 'PARAMS_INVALID' || operation === undefined) return error;
  return new FabricError('PARAMS_INVALID', error.message, {
    cause: error,
    details: { ...error.details, example: curlOf(base, agent, operation) },
  });
}

/** @throws {REQUEST_INVALID} */
function timeoutOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT_MS;
  const ms = Number(text);
  if (Number.isInteger(ms) && ms >= 1 && ms <= MAX_TIMEOUT_MS) return ms;
  throw new FabricError('REQUEST_INVALID', `timeout_ms must be 1 to ${MAX_TIMEOUT_MS}`);
}

const digestOf = (parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('base64url');

/** Running calls with a key. The agent keeps the outcomes of ended calls. */
class IdempotentCalls {
  readonly #running = new Map<string, { readonly body: string; readonly result: Promise<unknown> }>();

  /** Joins the call with the same id. @throws {REQUEST_CONFLICT} if that call has another body */
  run(id: string, body: string, start: () => Promise<unknown>): Promise<unknown> {
    const running = this.#running.get(id);
    if (running !== undefined) {
      if (running.body === body) return running.result;
      throw new FabricError(
        'REQUEST_CONFLICT',
        'A request with this Idempotency-Key and another body is running',
      );
    }
    const result = start().finally(() => this.#running.delete(id));
    this.#running.set(id, { body, result });
    return result;
  }
}
