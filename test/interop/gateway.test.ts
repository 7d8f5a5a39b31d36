// The gateway of our HTTP door and that of an unmodified sentinel of naylence, with the same agent and the same requests.
import { beforeAll, expect, test } from 'vitest';
import { startPeerAgent, startPeerSentinel } from '../kit/naylence.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

let ours: string;
let theirs: string;

beforeAll(async () => {
  const [sentinel, peer] = await Promise.all([
    startOurSentinel(),
    startPeerSentinel({ env: { FAME_LISTENER_AGENT_HTTP_GATEWAY_ENABLED: 'true' } }),
  ]);
  await Promise.all([sentinel, peer].map(({ url }) => startPeerAgent('math', { url })));
  ours = `${sentinel.http}/fame/v1/gateway`;
  theirs = `http://127.0.0.1:${peer.port}/fame/v1/gateway`;
}, 120_000);

/** Status and body of an answer. `errorCode` is our addition, and the texts of errors differ. */
async function answerOf(gateway: string, path: string, body: unknown): Promise<unknown> {
  const response = await fetch(`${gateway}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const {
    error: _error,
    errorCode: _errorCode,
    ...rest
  } = (await response.json()) as Record<string, unknown>;
  return { status: response.status, ...rest };
}

const target = { targetAddr: 'math@fame.fabric' };
const add = { method: 'add', params: { x: 1, y: 2 } };

test.each<[string, string, unknown]>([
  ['a call', '/rpc', { ...target, ...add }],
  ['a call with a time limit', '/rpc', { ...target, ...add, timeoutMs: 5_000 }],
  ['a call by capability', '/rpc', { capabilities: ['fame.capability.agent'], ...add }],
  ['a call of an unknown operation', '/rpc', { ...target, method: 'none' }],
  ['a call that fails', '/rpc', { ...target, method: 'fail', params: { text: 'broken' } }],
  ['a call without a method', '/rpc', { ...target }],
  ['a call without a target', '/rpc', { ...add }],
  ['a method that is too long', '/rpc', { ...target, ...add, method: 'x'.repeat(257) }],
  ['an address that is too long', '/rpc', { ...add, targetAddr: 'x'.repeat(513) }],
  ['a list as body', '/rpc', []],
  ['a message', '/messages', { ...target, type: 'note', payload: { n: 1 } }],
  ['a message without a type', '/messages', { ...target, payload: 'text' }],
  ['a message without content', '/messages', { ...target }],
])('%s has the same answer', async (_name, path, body) => {
  expect(await answerOf(ours, path, body)).toEqual(await answerOf(theirs, path, body));
});

test('health has the same answer', async () => {
  const [our, their] = await Promise.all(
    [ours, theirs].map(async (gateway) => (await fetch(`${gateway}/health`)).json()),
  );
  expect(our).toEqual(their);
});

test('an unknown address is 404, as the gateway of naylence documents it', async () => {
  expect(await answerOf(ours, '/rpc', { ...add, targetAddr: 'none@fame.fabric' })).toEqual({
    status: 404,
    ok: false,
    code: 'not_found',
  });
});
