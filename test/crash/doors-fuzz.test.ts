// D8: random requests to each door of a running fabric. Each is answered in bounded time with a status and no stack, or is a stream; the
// doors and the agents still serve afterwards, and nothing is held. `.ci/long doors-fuzz` sends 20,000 to each door; FAME_FUZZ_SEED selects
// others.
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { randomOf } from '../conformance/fuzz-frames.ts';
import { eventually } from '../kit/eventually.ts';
import { listNodes, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';
import { startAgent, stopStack } from '../kit/stack.ts';
import { type DoorRequest, FUZZED_DOORS, nextRequest } from './door-requests.ts';

const REQUESTS = Number(process.env.FAME_FUZZ_REQUESTS ?? 2_000);
const SEED = Number(process.env.FAME_FUZZ_SEED ?? 20_251_130);
const AT_ONCE = 16;
const ANSWER_MS = 20_000;
/** Enough for 50 requests/s. */
const TIMEOUT_MS = 60_000 + REQUESTS * 20;
/** Statuses of 500 and above that say why: an operation that an agent lacks, an agent that is gone or away, a time limit. */
const SERVER_STATUSES = new Set([501, 502, 503, 504]);
const STACK = /\n\s+at .+:\d+:\d+|node_modules|\.(?:ts|js):\d+/;

let sentinel: OurSentinel;
const connections = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

beforeAll(async () => {
  sentinel = await startOurSentinel({ env: { FAME_LOG_LEVEL: 'error' } });
  await startAgent(sentinel.url);
});
afterAll(async () => {
  connections.destroy();
  await stopStack();
});

interface Answer {
  /** 0 if the test cut the connection. */
  readonly status: number;
  readonly text: string;
}

/** Sends a request, and reads its answer; of a stream, the first piece. */
function send({ method, path, headers, body, cutAt }: DoorRequest): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { hostname, port } = new URL(sentinel.http);
  const length = body === undefined ? {} : { 'content-length': String(body.length) };
  const request = httpRequest({
    hostname,
    port,
    method,
    path,
    headers: { ...headers, ...length },
    agent: connections,
    timeout: ANSWER_MS,
  });
  request.on('timeout', () => reject(new Error('no answer')));
  request.on('response', (response) => void read(response).then(resolve, reject));
  // A refused body is not read to its end, so the connection may break after the answer, or before it.
  request.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') resolve({ status: 0, text: '' });
    else reject(error);
  });
  if (cutAt !== undefined && body !== undefined) {
    request.write(body.subarray(0, cutAt), () => request.destroy());
    resolve({ status: 0, text: '' });
  } else {
    request.end(body);
  }
  return promise;
}

async function read(response: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0 } = response;
  const isStream = response.headers['content-type']?.startsWith('text/event-stream') ?? false;
  let text = '';
  try {
    for await (const piece of response) {
      text += String(piece);
      if (isStream) break;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
  response.destroy();
  return { status, text };
}

function faultOf({ status, text }: Answer): string | undefined {
  // The gateway of naylence answers most errors with 500. Our code says which one it is.
  const isNamed = /"errorCode": ?"(?!INTERNAL)/.test(text);
  if (status >= 500 && !SERVER_STATUSES.has(status) && !isNamed) return `status ${status}`;
  if (STACK.test(text)) return 'a stack';
  return undefined;
}

test.each(FUZZED_DOORS)(
  `D8: ${REQUESTS} random requests to the door %s`,
  async (door) => {
    const random = randomOf(SEED);
    const faults: string[] = [];
    const statuses = new Map<number, number>();
    let sent = 0;
    const sender = async (): Promise<void> => {
      while (sent < REQUESTS && faults.length < 5) {
        sent++;
        const request = nextRequest(door, random);
        const describe = (what: string): string =>
          `${what}: ${request.method} ${request.path.slice(0, 200)} ${JSON.stringify(request.headers).slice(0, 300)} ${request.body?.toString('latin1').slice(0, 400)}`;
        try {
          const answer = await send(request);
          statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
          const fault = faultOf(answer);
          if (fault !== undefined) faults.push(`${describe(fault)} -> ${answer.text.slice(0, 400)}`);
        } catch (error) {
          faults.push(describe((error as Error).message));
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, sender));
    console.log(door, Object.fromEntries([...statuses].sort(([a], [b]) => a - b)));
    expect(faults).toEqual([]);
    expect(statuses.get(200)).toBeGreaterThan(REQUESTS / 20);
  },
  TIMEOUT_MS,
);

test('D8: the doors serve afterwards, hold no call, and logged no error', async () => {
  const body = Buffer.from(
    JSON.stringify({ model: 'chat', messages: [{ role: 'user', content: 'What is 2+3?' }] }),
  );
  const headers = { 'content-type': 'application/json' };
  const answer = await send({ method: 'POST', path: '/v1/chat/completions', headers, body });
  expect(JSON.parse(answer.text).choices[0].message.content).toContain('5');
  await eventually(async () => {
    const nodes = await listNodes(sentinel);
    expect(nodes.reduce((sum, { openCalls }) => sum + openCalls, 0)).toBe(0);
  });
  expect(sentinel.proc.output).not.toContain('"level":"error"');
});
