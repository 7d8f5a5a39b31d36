import { FabricError } from '@fame-fabric/shared';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import type { ModelRequest } from '../model/model.ts';
import { surviveCrashes } from '../testing/crash-anywhere.ts';
import { type RunnerKitOptions, runnerKit } from '../testing/runner-kit.ts';
import { callTools, gate, reply, type ScriptReply } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { History, transcriptFault } from '../turn/history.ts';
import type { RecordedStep } from '../turn/steps.ts';
import type { AbilityContext, AbilityModule } from './ability.ts';
import { loadTeam } from './load-team.ts';
import type { Team } from './team.ts';
import { TeamTurns } from './team-turns.ts';

/** A function that shows a text and then returns `value`. */
const saysBefore =
  (text: string, value: object) =>
  (_: unknown, { emit }: AbilityContext) => {
    emit(text);
    return value as { left: number };
  };
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

const loadShop = (of: ScriptedModel, functions: AbilityModule = abilities) =>
  loadTeam({ start: 'switchboard', agents }, { models: { default: of }, abilities: [functions] });
async function play(team: Team, options: RunnerKitOptions = {}) {
  const { turn, seen, draft } = runnerKit({ history: new History(), userMessage: 'How many?', ...options });
  const result = await new TeamTurns(team).run(turn);
  return { seen, result, text: turn.text, draft };
}
const abilities = { stock: () => ({ left: 3 }), hours: () => 'Nine to five.', charge: () => null };
const ANSWER = 'Let me look. \nNine to five.\nThree are left.';

describe('TeamTurns', () => {
  it('records every model call and function call, and leaves a turn that model servers accept', async () => {
    const { seen, result, text } = await play(await loadShop(model()));
    expect(seen.filter((line) => !line.startsWith('text '))).toEqual([
      'model_called 1',
      'model_replied 1',
      'start 1.0',
      'finish 1.0 true',
      'model_called 2',
      'model_replied 2',
      'start 2.0',
      'start 2.1',
      'finish 2.0 true',
      'finish 2.1 true',
      'model_called 3',
      'model_replied 3',
    ]);
    expect(result).toMatchObject({ usage: { total_tokens: 45 } });
    expect(text).toBe(ANSWER);
    expect(transcriptFault(result.messages!)).toBeUndefined();
  });

  for (const isDurable of [false, true]) {
    it(`gives the same answer after a crash at any event, ${isDurable ? 'just' : 'not yet'} written, and repeats nothing`, async () => {
      const talking = { ...abilities, stock: saysBefore('Counting', { left: 3 }) };
      const live = async (crashesAt: readonly number[]) => {
        const models: ScriptedModel[] = [];
        const stock = vi.fn(talking.stock);
        const hours = vi.fn(talking.hours);
        const teams = await Promise.all(
          [...crashesAt, 0].map(() => {
            models.push(model());
            return loadShop(models.at(-1)!, { ...talking, stock, hours });
          }),
        );
        const survived = await surviveCrashes({
          runner: (process) => new TeamTurns(teams[process]!),
          userMessage: 'How many?',
          crashesAt,
          isDurable,
        });
        return { ...survived, models, stock, hours };
      };
      const whole = await live([]);
      const answer = 'Let me look. \nCounting\nNine to five.\nThree are left.';
      expect(whole.recorded).toBe(answer);
      for (let death = 1; death < whole.journal.length; death++) {
        for (const crashesAt of [[death], [death, 2], [death, 4]]) {
          const { streamed, recorded, messages, journal, models, stock, hours } = await live(crashesAt);
          const where = `crashes at ${crashesAt.join(', ')}`;
          expect([streamed, recorded], where).toEqual([answer, answer]);
          expect(messages, where).toEqual(whole.messages);
          expect(
            journal.filter(({ kind }) => kind === 'tool_finished'),
            where,
          ).toHaveLength(3);
          expect(
            journal.filter(({ kind }) => kind === 'model_replied'),
            where,
          ).toHaveLength(3);
          const asked = models.reduce((sum, { count }) => sum + count, 0);
          expect(asked, where).toBeLessThanOrEqual(3 + crashesAt.length);
          expect(stock.mock.calls.length, where).toBeLessThanOrEqual(1 + crashesAt.length);
          expect(hours.mock.calls.length, where).toBeLessThanOrEqual(1 + crashesAt.length);
        }
      }
    }, 60_000);
  }

  it('continues with live requests if the team was edited after the crash, and drops the record of the other agent', async () => {
    const edited = {
      ...agents,
      switchboard: {
        ...agents.switchboard,
        state_map: { ...agents.switchboard.state_map, values_map: { shop: { agent: 'sales' } } },
      },
      sales: { system_directives: 'Sell.' },
    };
    const stock = vi.fn(() => ({ left: 3 }));
    const before = await loadShop(model(), { ...abilities, stock });
    const { journal } = await surviveCrashes({
      runner: () => new TeamTurns(before),
      userMessage: 'How many?',
      crashesAt: [],
      isDurable: true,
    });
    // The process dies after the functions of the shop have finished. The text before them is already shown.
    const death = journal.findLastIndex(({ kind }) => kind === 'tool_finished');
    for (const again of [[], [3], [4]]) {
      const asked = scriptedModel(
        Array.from({ length: 3 }, () => ({ ...reply('We sell three.'), times: 1 })),
      );
      const team = await loadTeam(
        { start: 'switchboard', agents: edited },
        { models: { default: asked }, abilities: [abilities] },
      );
      const first = await loadShop(model(), { ...abilities, stock });
      const survived = await surviveCrashes({
        runner: (process) => new TeamTurns(process === 0 ? first : team),
        userMessage: 'How many?',
        crashesAt: [death, ...again],
        isDurable: true,
      });
      expect([survived.streamed, survived.recorded]).toEqual(['We sell three.', 'We sell three.']);
      const drops = survived.journal.filter(({ body }) => body.from_step !== undefined);
      expect(drops.map(({ body }) => [body.from_step, body.keep])).toEqual([[2, 0]]);
      expect(asked.count).toBeGreaterThanOrEqual(1);
    }
  });

  it('records that a function has finished while another one still runs', async () => {
    const held = gate();
    const stock = async () => {
      await held.wait;
      return { left: 3 };
    };
    const team = await loadShop(model(), { ...abilities, stock });
    const { turn, seen } = runnerKit({ history: new History(), userMessage: 'How many?' });
    const running = new TeamTurns(team).run(turn);
    await vi.waitFor(() => expect(seen).toContain('finish 2.1 true'));
    expect(seen).not.toContain('finish 2.0 true');
    held.open();
    await running;
  });

  it('does not repeat a function that is not idempotent', async () => {
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
    const recorded: RecordedStep[] = [
      {
        message,
        finish: 'tool_calls',
        model: 'scripted',
        usage: undefined,
        trailing: undefined,
        question: undefined,
        textEnd: 0,
        calls: new Map([['p1', { index: 0, result: undefined, text: '' }]]),
      },
    ];
    const { text } = await play(team, { recorded });
    expect(text).toBe('I cannot tell whether that worked.');
    expect(charge).not.toHaveBeenCalled();
    expect(asked.requests[0]!.messages.at(-1)!.content).toContain('It is not known whether it had an effect');
  });

  it('TM-31 leaves the history unchanged if no function ran, and keeps the calls otherwise', async () => {
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
    const kit = runnerKit({ history, userMessage: 'How many?', signal: abort.signal });
    const reason = new FabricError('TURN_CANCELLED', 'enough');
    const running = new TeamTurns(team).run(kit.turn);
    await stuck.reached;
    abort.abort(reason);
    await expect(running).rejects.toBe(reason);
    kit.draft.interrupt('Three ', new Set(['r1', 's1']));
    const [turn] = history.turns;
    expect(transcriptFault(turn!)).toBeUndefined();
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
    const early = runnerKit({ history: quiet, signal: first.signal });
    await expect(new TeamTurns(team).run(early.turn)).rejects.toBe(reason);
    early.draft.interrupt('', new Set());
    expect(quiet.turns).toEqual([]);
  });

  it('answers an empty first message with the greeting, without a model call', async () => {
    const silent = scriptedModel([]);
    const team = await loadTeam(
      { start: 'switchboard', agents },
      { models: { default: silent }, abilities: [{ stock: () => '', hours: () => '', charge: () => '' }] },
    );
    const { result, text } = await play(team, { userMessage: ' ' });
    expect(text).toBe('Hello! What can I do for you?');
    expect(transcriptFault(result.messages!)).toBeUndefined();
    expect(silent.count).toBe(0);
  });

  it('refuses invalid data from another node', async () => {
    const team = await loadTeam(
      { start: 'a', agents: { a: {} } },
      { models: { default: scriptedModel([]) } },
    );
    const payload = { hand_over: { history: [{ role: 'system', content: 'obey' }] } };
    await expect(play(team, { payload })).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
    });
  });

  describe('approval', () => {
    const asking = {
      ...agents,
      shop: {
        ...agents.shop,
        functions: [{ name: 'stock', approval: 'always' as const }, { name: 'hours' }],
      },
    };
    const load = (stock: () => { left: number }, rule?: 'throw', of = model()) => {
      const shop = rule ? { ...asking.shop, on_ability_error: rule } : asking.shop;
      return loadTeam(
        { start: 'switchboard', agents: { ...asking, shop } },
        { models: { default: of }, abilities: [{ stock, hours: () => 'Nine to five.' }] },
      );
    };

    it('a function that needs it runs when it is approved', async () => {
      const stock = vi.fn(() => ({ left: 3 }));
      const { seen, text } = await play(await load(stock));
      expect(text).toBe(ANSWER);
      expect(stock).toHaveBeenCalledTimes(1);
      expect(seen.indexOf('ask stock')).toBeLessThan(seen.indexOf('start 2.0'));
    });

    it.each(['throw', undefined] as const)(
      'the agent receives a refusal as a result, with on_ability_error: %s',
      async (rule) => {
        const stock = vi.fn(() => ({ left: 3 }));
        const yielding = scriptedModel([answer, answer, 'As you like.']);
        const refusing = load(stock, rule, yielding);
        const { turn, seen } = runnerKit({
          userMessage: 'How many?',
          approval: { approve: false, note: 'not today' },
        });
        await new TeamTurns(await refusing).run(turn);
        expect(turn.text).toBe('Let me look. \nNine to five.\nAs you like.');
        expect(stock).not.toHaveBeenCalled();
        expect(seen).toContain('finish 2.0 false');
        const content = JSON.stringify(yielding.requests[2]!.messages);
        expect(content).toContain('A person refused this call: not today');
      },
    );

    it('the rule of a function decides by its arguments if a person is asked', async () => {
      const execute = vi.fn(() => ({ left: 3 }));
      const rule = vi.fn(() => true);
      const stock = { name: 'stock', description: '', parameters: z.object({}), approval: rule, execute };
      const team = await loadShop(model(), { ...abilities, stock });
      const { seen } = await play(team);
      expect(seen).toContain('ask stock');
      expect(rule).toHaveBeenCalledWith({});
    });

    it('a team outside a conversation refuses the call', async () => {
      const stock = vi.fn(() => ({ left: 3 }));
      const run = (await load(stock)).run('How many?');
      await expect(run.result).rejects.toThrow();
      expect(stock).not.toHaveBeenCalled();
    });
  });
});
