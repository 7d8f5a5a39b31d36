// The cases of `llm-comply` for Open Responses and Chat Completions, with its own schemas, against the OpenAI door.
import { dirname, join } from 'node:path';
import { callTools, type WireRequest } from '@fame-fabric/agents/testing';
import { expect, test } from 'vitest';
import { Proc } from '../../kit/processes.ts';
import { EXPECTED_FAILURES } from '../conformance/expected-failures.ts';
import { doorsFabric } from '../fabric.ts';
import { ensurePython } from './installed.ts';

interface Result {
  id: string;
  status: 'passed' | 'failed' | 'skipped';
  errors?: string[];
}

/** Answers with text, or with a call of the tool that the request has. */
const respond = ({ tools = [] }: WireRequest) =>
  tools.length > 0
    ? callTools({ name: tools[0]!.function.name, arguments: { location: 'San Francisco' } })
    : 'Hello there, friend.';

test.each([
  ['Open Responses', 'open-responses', 13],
  ['Chat Completions', 'openai-chat', 9],
] as const)('%s: only the listed scenarios fail', { timeout: 300_000 }, async (suite, format, count) => {
  const program = join(dirname(ensurePython()), 'llm-comply');
  await using fabric = await doorsFabric({ respond });
  const args = ['--base-url', fabric.v1, '--api-key', 'any', '--model', 'chat', '--format', format, '--json'];
  const proc = new Proc(program, args, { name: 'llm-comply' });
  await proc.exited;
  const start = proc.output.indexOf('{');
  if (start < 0) throw proc.failure('did not report');
  const { results } = JSON.parse(proc.output.slice(start)) as { results: Result[] };
  expect(results).toHaveLength(count);
  const failed = results.filter(({ status }) => status === 'failed').map(({ id }) => id);
  const expected = EXPECTED_FAILURES.filter((one) => one.suite === suite);
  expect(failed, JSON.stringify(results, null, 1)).toEqual(expected.map(({ scenario }) => scenario));
  // The suite runs it for models with certain names only.
  const skipped = results.filter(({ status }) => status === 'skipped').map(({ id }) => id);
  expect(skipped).toEqual([expect.stringMatching(/reasoning-summary$/)]);
});
