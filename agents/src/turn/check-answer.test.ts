import { expect, it } from 'vitest';
import { runnerKit } from '../testing/runner-kit.ts';
import { callTools, reply, scriptedModel } from '../testing.ts';
import { ChatTurns } from './chat-turns.ts';
import { History, INTERRUPTED_MARK } from './history.ts';

const run = (replies: Parameters<typeof scriptedModel>[0], history = new History()) => {
  const kit = runnerKit({ history });
  return { ...kit, result: new ChatTurns({ model: scriptedModel(replies) }).run(kit.turn) };
};

it.each([
  ['length', 'FAME_MAX_ANSWER_TOKENS'],
  ['content_filter', 'content filter'],
] as const)('an empty answer with the finish %s is an error that names the reason', async (finish, words) => {
  for (const steps of [[], [' \n']]) {
    const { result, seen } = run([{ steps, finish }]);
    await expect(result).rejects.toMatchObject({ code: 'MODEL_ANSWER_EMPTY' });
    await expect(result).rejects.toThrow(words);
    // The tokens are paid for.
    expect(seen).toContain('model_replied 1');
  }
});

it('a cut answer has its finish, and an empty answer that the server did not cut is valid', async () => {
  await expect(run([reply('Half of', { finish: 'length' })]).result).resolves.toBeDefined();
  await expect(run([reply('')]).result).resolves.toBeDefined();
});

it('an empty reply is not in the history of a kept turn', async () => {
  const history = new History();
  const { result, draft } = run(
    [callTools({ name: 'nothing', arguments: {} }), { steps: [], finish: 'length' }],
    history,
  );
  await expect(result).rejects.toMatchObject({ code: 'MODEL_ANSWER_EMPTY' });
  draft.interrupt('', new Set(['x']), 'keep');
  expect(history.window().map(({ role, content }) => `${role} ${content?.slice(0, 10)}`)).toEqual([
    'user hi',
    'assistant undefined',
    expect.stringMatching(/^tool /),
    `assistant ${INTERRUPTED_MARK.slice(0, 10)}`,
  ]);
});
