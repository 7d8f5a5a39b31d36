import { describe, expect, it } from 'vitest';
import { type RunnerKitOptions, runnerKit } from '../testing/runner-kit.ts';
import { callTools, type ScriptReply } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { History } from '../turn/history.ts';
import type { RecordedStep } from '../turn/steps.ts';
import { RefineTurns, type RefineTurnsOptions } from './refine-turns.ts';

const asks = (goal: string, ...questions: string[]): ScriptReply =>
  callTools({ name: 'refine_requirements', arguments: { reformulated_goal: goal, questions } });

async function play(
  model: ScriptedModel,
  userMessage: string,
  { warning, log, ...options }: RunnerKitOptions & Partial<RefineTurnsOptions> = {},
) {
  const { turn, seen } = runnerKit({ history: new History(), userMessage, ...options });
  const turns = new RefineTurns({
    models: { default: model, smart: model },
    ...(warning ? { warning } : {}),
    ...(log ? { log } : {}),
  });
  return { seen, result: await turns.run(turn), text: turn.text };
}

describe('RefineTurns', () => {
  it('records every attempt, and keeps the dialogue as the state of the turn', async () => {
    const model = scriptedModel(['Hm.', asks('A site', 'For whom?')]);
    const { seen, result, text } = await play(model, 'I need a site');
    expect(seen).toEqual([
      'model_called 1',
      'model_replied 1',
      'model_called 2',
      'model_replied 2',
      'text A site\n\n1. For whom?',
    ]);
    expect(text).toBe('A site\n\n1. For whom?');
    expect(result).toMatchObject({
      taskState: 'input-required',
      usage: { total_tokens: 30 },
      state: { dialogue: { phase: 'refining', goal: 'A site', iterations: 1 } },
    });
  });

  it('replays recorded replies without a request', async () => {
    const model = scriptedModel([asks('A site', 'For whom?')]);
    const recorded: RecordedStep[] = [
      {
        message: { role: 'assistant', content: 'Hm.' },
        finish: 'stop',
        model: 'scripted',
        usage: undefined,
        trailing: undefined,
        question: undefined,
        textEnd: 0,
        calls: new Map(),
      },
    ];
    const { seen, text } = await play(model, 'I need a site', { recorded });
    expect(text).toBe('A site\n\n1. For whom?');
    expect(seen).toEqual(['model_called 2', 'model_replied 2', `text ${text}`]);
    model.done();
  });

  it('answers an empty first message with the greeting', async () => {
    const model = scriptedModel([]);
    const { result, text } = await play(model, '');
    expect(result).toMatchObject({ taskState: 'input-required' });
    expect(text).toContain('What would you like');
    expect(result.state).toBeUndefined();
  });

  it('ST-28 stops the model when the turn is cancelled', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const model = scriptedModel([
      () => {
        abort.abort(reason);
        return asks('A', '?');
      },
    ]);
    await expect(play(model, 'x', { signal: abort.signal })).rejects.toBe(reason);
    expect(model.count).toBe(1);
  });

  it('ST-25 logs once when a dialogue is close to its budget', async () => {
    const lines: unknown[] = [];
    const log = {
      debug() {},
      info() {},
      error() {},
      warn: (_: string, fields?: object) => lines.push(fields),
      with: () => log,
    };
    const warning = { atUsd: 0.00002, prices: { scripted: { input: 1, output: 1 } } };
    const first = await play(scriptedModel([asks('A', '?')]), 'x', { warning, log });
    expect(lines).toEqual([]);
    const second = await play(scriptedModel([asks('A', '?')]), 'y', {
      warning,
      log,
      state: first.result.state,
    });
    expect(lines).toEqual([{ conversationId: 'c', usd: expect.closeTo(0.00003) }]);
    await play(scriptedModel([asks('A', '?')]), 'z', { warning, log, state: second.result.state });
    expect(lines).toHaveLength(1);
  });
});
