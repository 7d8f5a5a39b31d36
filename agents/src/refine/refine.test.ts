import { describe, expect, it, vi } from 'vitest';
import { ChatMessage } from '../strategy/chat-message.ts';
import { defineStrategies } from '../strategy/prompt-strategy.ts';
import { callTools, type ScriptReply } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { type RefineLimitError, refineStep, refineUserContext, textOfRefine } from './refine.ts';
import { refineStrategy } from './refine-strategy.ts';

const asks = (goal: string, ...questions: string[]): ScriptReply =>
  callTools({ name: 'refine_requirements', arguments: { reformulated_goal: goal, questions } });
const confirms = (goal: string): ScriptReply =>
  callTools({
    name: 'request_confirmation',
    arguments: { reformulated_goal: goal, question: 'Is that right?' },
  });
const hands = (goal_sentence: string, ...goals: string[]): ScriptReply =>
  callTools({ name: 'validate_requirements', arguments: { goal_sentence, goals } });
const forced = (name: string) => ({ type: 'function', function: { name } });
const models = (model: ScriptedModel) => ({ default: model, smart: model });

describe('refine', () => {
  it('ST-18 asks twice, has the goal confirmed, and returns the goals', async () => {
    const model = scriptedModel([
      asks('A website', 'What for?', 'By when?'),
      asks('A website for a bakery', 'Which pages?'),
      confirms('A website for a bakery with two pages by May'),
      hands('Build the site of a bakery by May', 'Page with opening hours', 'Page with prices'),
    ]);
    const dialogue = refineUserContext('I need a website', { models: models(model) });
    const first = await dialogue.next();
    expect(first.value).toEqual({
      kind: 'questions',
      goal: 'A website',
      questions: [
        { id: 'q1', text: 'What for?' },
        { id: 'q2', text: 'By when?' },
      ],
    });
    expect((await dialogue.next('A bakery, by May')).value).toMatchObject({ questions: [{ id: 'q3' }] });
    expect((await dialogue.next('Hours and prices')).value).toMatchObject({ kind: 'confirmation', id: 'c1' });
    expect(await dialogue.next('Yes!')).toEqual({
      done: true,
      value: {
        goalSentence: 'Build the site of a bakery by May',
        goals: ['Page with opening hours', 'Page with prices'],
      },
    });
    expect(model.requests.map((request) => request.tool_choice)).toEqual([
      forced('refine_requirements'),
      'auto',
      'auto',
      forced('validate_requirements'),
    ]);
    expect(model.requests[3]!.messages.slice(1).map((message) => message.content)).toEqual([
      'I need a website',
      'A website\n\n1. What for?\n2. By when?',
      'A bakery, by May',
      'A website for a bakery\n\n1. Which pages?',
      'Hours and prices',
      'A website for a bakery with two pages by May\n\nIs that right?',
      'Yes!',
    ]);
    model.done();
  });

  it('ST-18 continues to ask if the confirmation is refused', async () => {
    const model = scriptedModel([asks('A', '?'), confirms('A'), asks('B', 'So?')]);
    const dialogue = refineUserContext('x', { models: models(model) });
    await dialogue.next();
    await dialogue.next('a');
    expect((await dialogue.next('No, rather B')).value).toMatchObject({ goal: 'B' });
    expect(model.requests[2]!.tool_choice).toBe('auto');
  });

  it('ST-18 accepts other words of confirmation', async () => {
    const model = scriptedModel([asks('A', '?'), confirms('A'), hands('A', 'a')]);
    const dialogue = refineUserContext('x', { models: models(model), finishWords: ['ja'] });
    await dialogue.next();
    await dialogue.next('a');
    await dialogue.next('Ja.');
    expect(model.requests[2]!.tool_choice).toEqual(forced('validate_requirements'));
  });

  it('ST-19 repairs once if the model returns goals before it asked, then fails', async () => {
    const repaired = scriptedModel([hands('A', 'a'), asks('A', '?')]);
    expect((await refineUserContext('x', { models: models(repaired) }).next()).value).toMatchObject({
      kind: 'questions',
    });
    expect(repaired.requests[1]!.messages.at(-1)!.content).toContain('call refine_requirements first');
    const stubborn = scriptedModel([hands('A', 'a'), hands('A', 'a')]);
    await expect(refineUserContext('x', { models: models(stubborn) }).next()).rejects.toMatchObject({
      code: 'PROTOCOL',
    });
    stubborn.done();
  });

  it('ST-20 stops a model that asks for ever, and keeps the best goal so far', async () => {
    const model = scriptedModel(Array.from({ length: 4 }, (_, i) => asks(`goal ${i + 1}`, 'And?')));
    const dialogue = refineUserContext('x', { models: models(model), maxIterations: 4 });
    await dialogue.next();
    for (let i = 0; i < 3; i++) await dialogue.next('hm');
    const error = (await dialogue.next('hm').catch((reason: unknown) => reason)) as RefineLimitError;
    expect(error).toMatchObject({ code: 'REFINE_LIMIT', details: { iterations: 4 }, bestGoal: 'goal 4' });
    expect(model.count).toBe(4);
    model.done();
  });

  it('ST-21 gives every question its own id, and keeps a confirmation as one entry', async () => {
    const model = scriptedModel([asks('A', 'one?', 'two?', 'three?'), confirms('A')]);
    const first = await refineStep(undefined, [ChatMessage.user('x')], { models: models(model) });
    expect(first.state.entries.map((entry) => entry.id)).toEqual(['q1', 'q2', 'q3']);
    const talk = [
      ChatMessage.user('x'),
      ChatMessage.assistant(textOfRefine(first.turn)),
      ChatMessage.user('y'),
    ];
    const second = await refineStep(first.state, talk, { models: models(model) });
    expect(second.state.entries.map((entry) => entry.id)).toEqual(['q1', 'q2', 'q3', 'c1']);
    expect(first.state.entries).toHaveLength(3);
    expect(JSON.parse(JSON.stringify(second.state))).toEqual(second.state);
  });

  it('ST-29 runs its hooks once, awaited, and fails with their errors', async () => {
    const begin = vi.fn(async () => {});
    const end = vi.fn(async () => {});
    const script = () => scriptedModel([asks('A', '?'), hands('A', 'a')]);
    const dialogue = refineUserContext('x', { models: models(script()), hooks: { begin, end } });
    await dialogue.next();
    await dialogue.next('a');
    expect(begin).toHaveBeenCalledExactlyOnceWith('x');
    expect(end).toHaveBeenCalledExactlyOnceWith({ goalSentence: 'A', goals: ['a'] });
    const broken = refineUserContext('x', {
      models: models(script()),
      hooks: { end: () => Promise.reject(new Error('no')) },
    });
    await broken.next();
    await expect(broken.next('a')).rejects.toThrow('no');
  });

  it('runs as a strategy by its name, with the objective of the person', async () => {
    const model = scriptedModel([asks('A website', 'What for?')]);
    const { parsed, state } = await defineStrategies(refineStrategy).execute(
      'refine_user_context',
      { user_objective: 'I need a website' },
      { models: models(model) },
    );
    expect(parsed).toMatchObject({ name: 'refine_requirements', args: { questions: ['What for?'] } });
    expect(state).toMatchObject({ phase: 'refining', goal: 'A website', iterations: 1 });
    expect(model.requests[0]!.messages.slice(1)).toEqual([{ role: 'user', content: 'I need a website' }]);
  });

  it('refuses an execution without an objective and without messages', async () => {
    const running = defineStrategies(refineStrategy).execute(
      'refine_user_context',
      {},
      { models: models(scriptedModel([])) },
    );
    await expect(running).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: 'refine_user_context: needs user_objective or messages',
    });
  });
});
