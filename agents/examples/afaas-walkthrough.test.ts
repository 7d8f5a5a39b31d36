import { offlineModel, openaiModel } from '@fame-fabric/agents';
import { callTools, fakeOpenAI, httpError, scriptedModel } from '@fame-fabric/agents/testing';
import { expect, it } from 'vitest';
import { LINEAR, promptFor, QUADRATIC, solve } from './afaas-walkthrough.ts';

it('ST-1 walks through messages, functions, prompt, strategy and response', async () => {
  const prompt = promptFor('Solve it.');
  expect(prompt.toString()).toBe(
    [
      'USER: I need help with my math homework.',
      'ASSISTANT: Of course! What topic are you struggling with?',
      'USER: Solve it.',
      'FUNCTIONS:\n- solve_quadratic(a: number, b: number, c: number)\n- solve_linear(m: number, b: number, x: number)',
    ].join('\n\n'),
  );
  const model = scriptedModel([
    callTools({ name: 'solve_quadratic', arguments: { a: 1, b: -3, c: 2 } }),
    callTools({ name: 'solve_linear', arguments: { m: 2, b: 1, x: 3 } }),
  ]);
  expect(await solve('First', model)).toEqual({ text: 'x = 2 or x = 1', solved: 1 });
  expect(await solve('Second', model)).toEqual({ text: 'y = 7', solved: 1 });
  expect(model.requests[0]).toMatchObject({
    messages: [
      { role: 'user', content: 'I need help with my math homework.' },
      { role: 'assistant', content: 'Of course! What topic are you struggling with?' },
      { role: 'user', content: 'First' },
    ],
    tool_choice: 'auto',
    tools: [
      {
        function: {
          name: 'solve_quadratic',
          parameters: {
            type: 'object',
            properties: { a: { type: 'number' }, b: { type: 'number' }, c: { type: 'number' } },
            required: ['a', 'b', 'c'],
          },
        },
      },
      { function: { name: 'solve_linear' } },
    ],
  });
  model.done();
});

it('ST-1 runs against a model server, with answers that need a repair', async () => {
  const server = await fakeOpenAI({
    framing: { splitBytes: 5 },
    replies: [
      'Let me think.',
      callTools({ name: 'solve_quadratic', arguments: '{"a": 1, "b": ' }),
      callTools({ name: 'solve_quadratic', arguments: { a: 1, b: -3, c: 2 } }, { chunkChars: 3 }),
      httpError(503, { message: 'Busy.' }, { 'retry-after-ms': '1' }),
      callTools({ name: 'solve_linear', arguments: { m: 2, b: 1, x: 3 } }),
    ],
  });
  const model = openaiModel({ model: 'fake', baseURL: server.url });
  expect(await solve(QUADRATIC, model)).toEqual({ text: 'x = 2 or x = 1', solved: 1 });
  expect(await solve(LINEAR, model)).toEqual({ text: 'y = 7', solved: 1 });
  server.done();
  await server.close();
});

it('ST-1 runs with the built-in model', async () => {
  const model = offlineModel({ chunkDelayMs: 0 });
  expect((await solve(QUADRATIC, model)).text).toBe('x = 2 or x = 1');
  expect((await solve(LINEAR, model)).text).toBe('y = 7');
});
