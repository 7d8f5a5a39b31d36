// Faults that `fame doctor` finds before an agent does: misspelt variables, and a model server that is unreachable, refuses the
// key or lacks the model.
import { createServer } from 'node:http';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { FakeOpenAI } from '@fame-fabric/agents/testing';
import { afterEach, expect, test } from 'vitest';
import { probeModel } from '../../bin/model-probe.ts';
import { fameArgs, freePort, startNode, stopAll } from '../kit/processes.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await stopAll();
});

const probe = (env: Record<string, string>) => probeModel(readAgentConfig(env).model);

/** Starts a model server with one answer to `GET models`; returns its URL. */
async function modelServer(status: number, body: string): Promise<string> {
  const server = createServer((request, response) => {
    const isModels = request.method === 'GET' && request.url === '/v1/models';
    response.writeHead(isModels ? status : 500, { 'content-type': 'application/json' }).end(body);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return `http://127.0.0.1:${(server.address() as { port: number }).port}/v1`;
}

test('no model server is probed without a key and a URL', async () => {
  expect(await probe({ OPENAI_API_KEY: ' ', MODEL_NAME: 'some' })).toBeUndefined();
});

test.each([
  ['offers the model', 200, { data: [{ id: 'a' }, { id: 'small' }] }, true, 'offers small'],
  ['offers the model with a tag', 200, { data: [{ id: 'small:latest' }] }, true, 'offers small'],
  ['offers other models only', 200, { data: [{ id: 'a' }, { id: 'b' }] }, false, 'does not offer small'],
  ['refuses the key', 401, {}, false, 'refuses the key (401)'],
  ['has no list of models', 404, {}, true, 'lists no models (404)'],
  ['answers with a text', 200, 'hello', true, 'lists no models'],
  ['answers with an invalid list', 200, { data: [null, { id: 7 }] }, true, 'lists no models'],
] as const)('a server that %s', async (_, status, body, ok, found) => {
  const url = await modelServer(status, JSON.stringify(body));
  const finding = await probe({ OPENAI_BASE_URL: `${url}/`, OPENAI_API_KEY: 'k', MODEL_NAME: 'small' });
  expect(finding).toMatchObject({ ok, found: expect.stringContaining(found) });
  expect(finding!.fix !== undefined).toBe(!ok);
});

test('a server that cannot be reached', async () => {
  const finding = await probe({ OPENAI_BASE_URL: `http://127.0.0.1:${await freePort()}/v1` });
  expect(finding).toMatchObject({ ok: false, found: expect.stringContaining('ECONNREFUSED') });
  expect(finding!.fix).toContain('OPENAI_BASE_URL');
});

test('doctor names a misspelt variable and its closest match, and shows the error of the model server', async () => {
  const model = await new FakeOpenAI({ respond: () => 'hello', apiKey: 'right' }).listen();
  closing.push(() => model.close());
  const env = {
    FAME_LISTENER_PORT: String(await freePort()),
    FAME_LISTNER_PORT: '8001',
    FAME_SECURITY_PROFILE: 'open',
    OPENAI_BASE_URL: model.url,
    OPENAI_API_KEY: 'wrong-0123456789',
  };
  const proc = startNode(fameArgs('doctor'), { name: 'doctor', env });
  expect(await proc.exited).toMatchObject({ code: 69 });
  expect(proc.output).toContain('FAME_LISTNER_PORT is set, and nothing reads it');
  expect(proc.output).toContain('Did you mean FAME_LISTENER_PORT?');
  expect(proc.output).not.toContain('FAME_SECURITY_PROFILE');
  expect(proc.output).toMatch(/fix {2}model server/);
  expect(proc.output).not.toContain('wrong-0123456789');
});
