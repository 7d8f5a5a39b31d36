import { describe, expect, it } from 'vitest';
import { callTools, type ScriptReply } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { History } from '../turn/history.ts';
import type { TurnEvent, TurnInput, TurnResult } from '../turn/turn.ts';
import { RefineTurns, type RefineTurnsOptions } from './refine-turns.ts';

const asks = (goal: string, ...questions: string[]): ScriptReply =>
  callTools({ name: 'refine_requirements', arguments: { reformulated_goal: goal, questions } });

async function play(
  model: ScriptedModel,
  userMessage: string,
  more: Partial<TurnInput & RefineTurnsOptions> = {},
) {
  const history = new History();
  const draft = history.begin(userMessage);
  const { warning, log, ...input } = more;
  const turns = new RefineTurns({
    models: { default: model, smart: model },
    ...(warning ? { warning } : {}),
    ...(log ? { log } : {}),
  });
  const events: TurnEvent[] = [];
  const turn = turns.run({
    conversationId: 'c',
    turnId: 't',
    userMessage,
    draft,
    state: undefined,
    payload: {},
    signal: new AbortController().signal,
    ...input,
  });
  for (;;) {
    const step = await turn.next();
    if (step.done) return { events, result: step.value as TurnResult };
    events.push(step.value);
  }
}

describe('RefineTurns', () => {
  it('tells of every attempt, and keeps the dialogue as the state of the turn', async () => {
    const model = scriptedModel(['Hm.', asks('A site', 'For whom?')]);
    const { events, result } = await play(model, 'I need a site');
    expect(events.map((event) => event.type)).toEqual([
      'model_called',
      'model_replied',
      'model_called',
      'model_replied',
      'text',
    ]);
    expect(result).toMatchObject({
      text: 'A site\n\n1. For whom?',
      taskState: 'input-required',
      usage: { total_tokens: 30 },
      state: { dialogue: { phase: 'refining', goal: 'A site', iterations: 1 } },
    });
  });

  it('does not ask again for answers that were recorded before a crash', async () => {
    const model = scriptedModel([asks('A site', 'For whom?')]);
    const recorded = [
      {
        message: { role: 'assistant' as const, content: 'Hm.' },
        finish: 'stop' as const,
        model: 'scripted',
        usage: undefined,
        text: '',
        started: new Set<string>(),
        finished: new Map(),
      },
    ];
    const { events, result } = await play(model, 'I need a site', { recorded });
    expect(result.text).toBe('A site\n\n1. For whom?');
    expect(events.map((event) => (event.type === 'model_called' ? event.step : event.type))).toEqual([
      2,
      'model_replied',
      'text',
    ]);
    model.done();
  });

  it('asks what it is about when a person opens without a word', async () => {
    const model = scriptedModel([]);
    const { result } = await play(model, '');
    expect(result).toMatchObject({
      taskState: 'input-required',
      text: expect.stringContaining('What would you like'),
    });
    expect(result.state).toBeUndefined();
  });

  it('ST-28 stops the model when the turn is given up', async () => {
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

  it('ST-25 says once when a dialogue comes near its budget', async () => {
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
