import { FabricError } from '@fame-fabric/shared';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { recordedTurn } from '../conversation/journal.ts';
import type { ModelRequest } from '../model/model.ts';
import type { JournalEvent } from '../store/store.ts';
import { callTools, gate, type ScriptReply } from '../testing/script.ts';
import { scriptedModel } from '../testing/scripted-model.ts';
import { faultOfTurn, History } from '../turn/history.ts';
import type { TurnEvent, TurnInput, TurnResult } from '../turn/turn.ts';
import { loadTeam } from './load-team.ts';
import type { Team } from './team.ts';
import { TeamTurns } from './team-turns.ts';

const agents = {
  switchboard: {
    functions: [{ name: 'route', parameters: [{ name: 'topic', type: 'string' }] }],
    function_call: { name: 'route' },
    state_map: { function_name: 'route', argument_name: 'topic', values_map: { shop: { agent: 'shop' } } },
  },
  shop: { system_directives: 'Shop.', functions: [{ name: 'stock' }, { name: 'hours' }, { name: 'charge' }] },
};
const answer = (request: ModelRequest): ScriptReply | string => {
  if (request.tools?.[0]?.function.name === 'route') {
    return callTools({ name: 'route', id: 'r1', arguments: { topic: 'shop' } });
  }
  if (
    request.messages.at(-1)!.role === 'tool' &&
    request.messages.some((message) => message.content === '{"left":3}')
  ) {
    return 'Three are left.';
  }
  return callTools(
    [
      { name: 'stock', id: 's1', arguments: {} },
      { name: 'hours', id: 's2', arguments: {} },
    ],
    { text: 'Let me look. ' },
  );
};
const model = () => scriptedModel(Array.from({ length: 8 }, () => answer));

const inputOf = (history: History, more: Partial<TurnInput> = {}): TurnInput => ({
  conversationId: 'c',
  turnId: 't',
  userMessage: 'How many?',
  draft: history.begin('How many?'),
  state: undefined,
  payload: {},
  signal: new AbortController().signal,
  ...more,
});
/** Runs a turn; stops after `most` events, as a crash would. */
async function play(team: Team, input: TurnInput, most = Number.POSITIVE_INFINITY) {
  const events: TurnEvent[] = [];
  const turn = new TeamTurns(team).run(input);
  let result: TurnResult | undefined;
  while (events.length < most) {
    const step = await turn.next();
    if (step.done) {
      result = step.value;
      break;
    }
    events.push(step.value);
  }
  await turn.return(undefined as never);
  return { events, result };
}
/** The events of a turn as they stand in the journal. */
const journal = (events: readonly TurnEvent[]): JournalEvent[] =>
  events.map((event, i): JournalEvent => {
    const { type, ...rest } = event as { type: string; callId?: string };
    const { callId, ...body } = rest;
    const all = {
      ...body,
      ...(callId === undefined ? {} : { call_id: callId }),
      reserved: { calls: 1, tokens: 1, usd: 0 },
    };
    return {
      seq: i + 1,
      at: 0,
      turnId: 't',
      kind: type,
      body: JSON.parse(JSON.stringify(all)),
    } as unknown as JournalEvent;
  });
const textOf = (events: readonly TurnEvent[]): string =>
  events.map((event) => (event.type === 'text' ? event.text : '')).join('');

describe('TeamTurns', () => {
  it('tells every model call and function call, and leaves a turn that model servers accept', async () => {
    const abilities = [{ stock: () => ({ left: 3 }), hours: () => 'Nine to five.', charge: () => null }];
    const team = await loadTeam(
      { start: 'switchboard', agents },
      { models: { default: model() }, abilities },
    );
    const { events, result } = await play(team, inputOf(new History()));
    expect(events.map((event) => event.type).filter((type) => type !== 'text')).toEqual([
      'model_called',
      'model_replied',
      'tool_started',
      'tool_finished',
      'model_called',
      'model_replied',
      'tool_started',
      'tool_started',
      'tool_finished',
      'tool_finished',
      'model_called',
      'model_replied',
    ]);
    expect(result).toMatchObject({
      text: 'Let me look. \nNine to five.\nThree are left.',
      usage: { total_tokens: 45 },
    });
    expect(textOf(events)).toBe(result!.text);
    expect(faultOfTurn(result!.messages!)).toBeUndefined();
  });

  it('takes up a turn that was cut short anywhere: the same answer, and nothing is done twice that was done', async () => {
    const abilities = [{ stock: () => ({ left: 3 }), hours: () => 'Nine to five.', charge: () => null }];
    const load = (of: ReturnType<typeof model>, functions = abilities) =>
      loadTeam({ start: 'switchboard', agents }, { models: { default: of }, abilities: functions });
    const whole = await play(await load(model()), inputOf(new History()));
    for (let cut = 0; cut <= whole.events.length; cut++) {
      const before = (await play(await load(model()), inputOf(new History()), cut)).events;
      const recorded = recordedTurn(journal(before));
      const done = new Set(before.flatMap((event) => (event.type === 'tool_finished' ? [event.callId] : [])));
      const answered = before.filter((event) => event.type === 'model_replied').length;
      const again = model();
      const stock = vi.fn(abilities[0]!.stock);
      const hours = vi.fn(abilities[0]!.hours);
      const team = await load(again, [{ ...abilities[0]!, stock, hours }]);
      const { events, result } = await play(team, inputOf(new History(), { recorded: recorded.steps }));
      expect(recorded.text + textOf(events), `cut at ${cut}`).toBe(whole.result!.text);
      expect(result!.text).toBe(whole.result!.text);
      expect(result!.messages).toEqual(whole.result!.messages);
      expect(again.count).toBe(3 - answered);
      expect(stock).toHaveBeenCalledTimes(done.has('s1') ? 0 : 1);
      expect(hours).toHaveBeenCalledTimes(done.has('s2') ? 0 : 1);
    }
  });

  it('tells that a function has finished while another one still runs', async () => {
    const held = gate();
    const abilities = [
      {
        stock: async () => {
          await held.wait;
          return { left: 3 };
        },
        hours: () => 'Nine to five.',
        charge: () => null,
      },
    ];
    const team = await loadTeam(
      { start: 'switchboard', agents },
      { models: { default: model() }, abilities },
    );
    const finished: string[] = [];
    for await (const event of new TeamTurns(team).run(inputOf(new History()))) {
      if (event.type !== 'tool_finished') continue;
      finished.push(event.callId);
      if (event.callId === 's2') held.open();
    }
    expect(finished).toEqual(['r1', 's2', 's1']);
  });

  it('does not repeat a function that says it must not be', async () => {
    const charge = vi.fn(() => 'Charged.');
    const def = {
      name: 'charge',
      description: 'Takes money',
      parameters: z.object({}),
      idempotent: false,
      execute: charge,
    };
    const asked = scriptedModel(['I cannot tell whether that worked.']);
    const team = await loadTeam(
      { start: 'shop', agents: { shop: agents.shop } },
      { models: { default: asked }, abilities: [{ stock: () => '', hours: () => '', charge: def }] },
    );
    const message = {
      role: 'assistant' as const,
      content: null,
      tool_calls: [{ id: 'p1', type: 'function' as const, function: { name: 'charge', arguments: '{}' } }],
    };
    const step = { message, finish: 'tool_calls' as const, model: 'scripted', usage: undefined, text: '' };
    const recorded = [{ ...step, started: new Set(['p1']), finished: new Map() }];
    const { result } = await play(team, inputOf(new History(), { recorded }));
    expect(result!.text).toBe('I cannot tell whether that worked.');
    expect(charge).not.toHaveBeenCalled();
    expect(asked.requests[0]!.messages.at(-1)!.content).toContain('whether it had an effect is not known');
  });

  it('TM-31 leaves the history as it was when nothing had been done, and says what had been done otherwise', async () => {
    const stuck = gate();
    const scripts = (late: boolean): ScriptReply[] => [
      callTools({ name: 'route', id: 'r1', arguments: { topic: 'shop' } }),
      ...(late ? [callTools({ name: 'stock', id: 's1', arguments: {} })] : []),
      { steps: ['Three ', stuck, 'are left'] },
    ];
    const history = new History();
    const abort = new AbortController();
    const team = await loadTeam(
      { start: 'switchboard', agents },
      {
        models: { default: scriptedModel(scripts(true)) },
        abilities: [{ stock: () => ({ left: 3 }), hours: () => '', charge: () => '' }],
      },
    );
    const input = inputOf(history, { signal: abort.signal });
    const reason = new FabricError('TURN_CANCELLED', 'enough');
    const running = play(team, input);
    await stuck.reached;
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    input.draft.interrupt('Three ', new Set(['r1', 's1']));
    const [turn] = history.turns;
    expect(faultOfTurn(turn!)).toBeUndefined();
    expect(turn!.map((message) => message.role)).toEqual([
      'user',
      'assistant',
      'tool',
      'assistant',
      'tool',
      'assistant',
    ]);
    expect(turn!.at(-1)!.content).toBe('Three  [interrupted]');

    const quiet = new History();
    const first = new AbortController();
    first.abort(reason);
    const early = inputOf(quiet, { signal: first.signal });
    await expect(play(team, early)).rejects.toBe(reason);
    early.draft.interrupt('', new Set());
    expect(quiet.turns).toEqual([]);
  });

  it('greets a person who opens without a word, and asks no model', async () => {
    const silent = scriptedModel([]);
    const team = await loadTeam(
      { start: 'switchboard', agents },
      { models: { default: silent }, abilities: [{ stock: () => '', hours: () => '', charge: () => '' }] },
    );
    const { result } = await play(team, inputOf(new History(), { userMessage: ' ' }));
    expect(result).toMatchObject({ text: 'Hello! What can I do for you?' });
    expect(faultOfTurn(result!.messages!)).toBeUndefined();
    expect(silent.count).toBe(0);
  });

  it('refuses what another node handed over when it cannot be read', async () => {
    const team = await loadTeam(
      { start: 'a', agents: { a: {} } },
      { models: { default: scriptedModel([]) } },
    );
    const payload = { hand_over: { history: [{ role: 'system', content: 'obey' }] } };
    await expect(play(team, inputOf(new History(), { payload }))).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
    });
  });
});
