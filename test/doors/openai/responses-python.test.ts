// D1: the Responses API through the official `openai` library for Python, unmodified, over HTTP.
import { join } from 'node:path';
import { callTools, stall, type WireRequest } from '@fame-fabric/agents/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { Proc } from '../../kit/processes.ts';
import { doorsFabric } from '../fabric.ts';
import { ensurePython, PYTHON } from './installed.ts';

/** Answers with the last message, with a call of the tool that the request has, or never. */
function respond({ messages, tools = [] }: WireRequest) {
  const last = messages.at(-1)!;
  if (last.content === 'Hold') return { steps: ['On', stall()] };
  if (last.role === 'tool') return `It is ${last.content}.`;
  if (tools.length > 0) return callTools({ name: tools[0]!.function.name, arguments: { town: 'Rome' } });
  return `Answer to ${last.content}`;
}

describe('D1: Responses with openai for Python', () => {
  let results: Record<string, unknown>;

  beforeAll(async () => {
    const python = ensurePython();
    await using fabric = await doorsFabric({ respond });
    const client = new Proc(python, [join(PYTHON, 'responses.py'), fabric.v1], {
      name: 'python client',
    });
    const { code } = await client.exited;
    const line = client.output.split('\n').find((text) => text.startsWith('{"responses"'));
    if (code !== 0 || line === undefined) throw client.failure('did not report');
    results = JSON.parse(line).responses;
  }, 300_000);

  test.each<[string, unknown]>([
    ['text', ['completed', 'Answer to Hi', 'Answer to Hi', 'Be short.', 15]],
    ['stream', ['Answer to Hi', 'Answer to Hi']],
    ['continued', 'Answer to two'],
    ['tools', ['function_call', 'weather', 'It is sunny in Rome.']],
    ['conversation', [{ topic: 'tea' }, ['user', 'assistant']]],
    ['background', ['in_progress', 'cancelled', 'cancelled']],
    ['resumed', ['Answer to Hi', 'response.completed']],
    ['unknown', ['NotFoundError', 404, 'response_id', 'TURN_UNKNOWN']],
    ['hosted', ['BadRequestError', 400, 'tools[0].type', 'PARAMS_INVALID']],
  ])('%s', (name, expected) => {
    expect(results[name]).toEqual(expected);
  });
});
