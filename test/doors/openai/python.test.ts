// D1: the official `openai` library for Python and LiteLLM, unmodified, against the OpenAI door over HTTP.
import { join } from 'node:path';
import { callTools, type WireRequest } from '@fame-fabric/agents/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { Proc } from '../../kit/processes.ts';
import { CHAT, doorsFabric } from '../fabric.ts';
import { ensurePython, PYTHON } from './installed.ts';
import { losingProxy } from './losing-proxy.ts';

type Results = Record<string, unknown>;

const TOOLS = ['tool_calls', 'It is sunny in Rome.'];
const STREAM = { role: 'assistant', text: 'Answer to Hi', tokens: 15 };

/** Answers with the last message, or with a call of the tool that the request has. */
function respond({ messages, tools = [] }: WireRequest) {
  const last = messages.at(-1)!;
  if (last.role === 'tool') return `It is ${last.content}.`;
  if (tools.length > 0) return callTools({ name: tools[0]!.function.name, arguments: { town: 'Rome' } });
  return `Answer to ${last.content}`;
}

describe('D1: Python', () => {
  let results: { openai: Results; litellm: Results };
  let lostStatuses: readonly number[] = [];
  let askedForLost = 0;

  beforeAll(async () => {
    const python = ensurePython();
    await using fabric = await doorsFabric({ respond });
    await using proxy = await losingProxy(fabric.url, 2);
    const args = [join(PYTHON, 'cases.py'), fabric.v1, `${proxy.url}/v1`, 'openai', 'litellm'];
    const client = new Proc(python, args, { name: 'python clients' });
    const { code } = await client.exited;
    const line = client.output.split('\n').find((text) => text.startsWith('{"openai"'));
    if (code !== 0 || line === undefined) throw client.failure('did not report');
    results = JSON.parse(line);
    lostStatuses = proxy.statuses;
    askedForLost = fabric.model.requests.filter(
      ({ body }) => body.messages.at(-1)!.content === 'Lost',
    ).length;
  }, 300_000);

  test.each<[string, unknown]>([
    ['models', [CHAT]],
    ['text', 'Answer to Hi'],
    ['headers', ['x-conversation-id', 'x-turn-id']],
    ['stream', STREAM],
    ['tools', TOOLS],
    ['at_once', 8],
    ['conversation', ['python', 'Answer to two']],
    ['unknown', ['NotFoundError', 404, 'model', 'model_not_found']],
    ['n', ['BadRequestError', 400, 'n', 'PARAMS_INVALID']],
    ['image', ['BadRequestError', 400, 'messages[0].content[0].type', 'PARAMS_INVALID']],
  ])('openai: %s', (name, expected) => {
    expect(results.openai[name]).toEqual(expected);
  });

  test('D4: openai: two lost responses are one turn', () => {
    expect([results.openai.lost, lostStatuses, askedForLost]).toEqual(['Answer to Lost', [200, 200, 200], 1]);
  });

  test.each<[string, unknown]>([
    ['text', 'Answer to Hi'],
    ['stream', STREAM],
    ['tools', TOOLS],
    ['unknown', ['NotFoundError', 404]],
    ['n', ['BadRequestError', 400]],
  ])('LiteLLM: %s', (name, expected) => {
    expect(results.litellm[name]).toEqual(expected);
  });
});
