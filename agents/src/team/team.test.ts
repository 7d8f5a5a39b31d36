import { type LogFields, type Logger, silentLog } from '@fame-fabric/shared';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { Budget } from '../model/budget.ts';
import type { ChatModel, ModelMessage, ModelRequest } from '../model/model.ts';
import {
  callTools,
  DEFAULT_USAGE,
  gate,
  type Scripted,
  type ScriptReply,
  reply as says,
} from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { transcriptFault } from '../turn/history.ts';
import { type AbilityModule, reply } from './ability.ts';
import { type LoadTeamOptions, loadTeam } from './load-team.ts';
import type { TeamTurn } from './team.ts';
import type { TeamConfigInput } from './team-config.ts';
import type { TeamError } from './team-error.ts';
import type { TeamEvent } from './team-events.ts';

type Agents = Extract<TeamConfigInput['agents'], object>;
type Agent = Agents[string];

const route = (values: string[], extra: object = {}): NonNullable<Agent['functions']>[number] => ({
  name: 'route',
  parameters: {
    type: 'object',
    properties: { topic: { type: 'string', enum: values }, ...extra },
    required: ['topic'],
  },
});
const switchboard = (map: NonNullable<Agent['state_map']>['values_map'], extra: object = {}): Agent => ({
  system_directives: 'You route.',
  functions: [route(Object.keys(map), extra)],
  function_call: { name: 'route' },
  state_map: { function_name: 'route', argument_name: 'topic', values_map: map },
});
const topic = (directives: string, more: Partial<Agent> = {}): Agent => ({
  system_directives: directives,
  ...more,
});
const chooses = (value: unknown, extra: object = {}): ScriptReply =>
  callTools({ name: 'route', arguments: { topic: value, ...extra } });

type More = Omit<Partial<TeamConfigInput>, 'abilities' | 'interpolations'> &
  Omit<Partial<LoadTeamOptions>, 'models'>;
const team = (agents: Agents, model: ChatModel, more: More = {}) => {
  const { abilities, interpolations, budget, log, ...config } = more;
  const start = Object.keys(agents)[0]!;
  return loadTeam(
    { start, agents, ...config },
    {
      models: { default: model },
      ...(abilities ? { abilities } : {}),
      ...(interpolations ? { interpolations } : {}),
      ...(budget ? { budget } : {}),
      ...(log ? { log } : {}),
    },
  );
};
const eventsOf = async (turn: TeamTurn): Promise<TeamEvent[]> => {
  const events: TeamEvent[] = [];
  for await (const event of turn) events.push(event);
  return events;
};
const failure = async (turn: TeamTurn): Promise<TeamError> =>
  (await turn.result.then(
    () => undefined,
    (reason: unknown) => reason,
  )) as TeamError;
const contents = (request: ModelRequest | undefined) => request?.messages.map((message) => message.content);

describe('routes', () => {
  const agents: Agents = {
    switchboard: switchboard(
      { order: { agent: 'orders' }, thanks: { function: 'thanks' }, spam: { ignore: 'advertisement' } },
      { sentiment: { type: 'string' } },
    ),
    orders: topic('You know orders.'),
  };
  const thanks = vi.fn((_: { sentiment?: string }) => 'You are welcome.');

  it('TM-1 hands the message over: the next agent sees its own directive only', async () => {
    const model = scriptedModel([chooses('order'), says('It ships today.', { chunkChars: 4 })]);
    const loaded = await team(agents, model, { abilities: [{ thanks }] });
    const turn = loaded.run('Where is my order?');
    const events = await eventsOf(turn);
    const result = await turn.result;
    expect(result).toMatchObject({
      kind: 'text',
      text: 'It ships today.',
      agent: 'orders',
      path: ['switchboard', 'orders'],
    });
    expect(events.flatMap((event) => (event.type === 'text' ? [event.text] : []))).toEqual([
      'It s',
      'hips',
      ' tod',
      'ay.',
    ]);
    expect(model.requests[0]!.tool_choice).toEqual({ type: 'function', function: { name: 'route' } });
    const second = model.requests[1]!.messages;
    expect(second.filter((message) => message.role === 'system')).toEqual([
      { role: 'system', content: 'You know orders.' },
    ]);
    // Without functions of its own it gets no calls: servers refuse them in a request without `tools`.
    expect(second.slice(1)).toEqual([{ role: 'user', content: 'Where is my order?' }]);
    expect(model.requests[1]!.tools).toBeUndefined();
    model.done();
  });

  it('TM-1 leaves the routing call out under `record_routing: false`', async () => {
    const orders = topic('You know orders.', { functions: [{ name: 'thanks' }] });
    for (const isRecorded of [true, false]) {
      const switchboard = { ...agents.switchboard, record_routing: isRecorded };
      const model = scriptedModel([chooses('order'), 'It ships.']);
      const loaded = await team({ ...agents, switchboard, orders }, model, { abilities: [{ thanks }] });
      await loaded.run('Where?').result;
      const roles = model.requests[1]!.messages.map(({ role }) => role);
      expect(roles).toEqual(['system', 'user', ...(isRecorded ? ['assistant', 'tool'] : [])]);
    }
  });

  it('TM-2 calls the mapped function once, with the extras, and shows its text', async () => {
    thanks.mockClear();
    const model = scriptedModel([chooses('thanks', { sentiment: 'good' })]);
    const loaded = await team(agents, model, { abilities: [{ thanks }] });
    const result = await loaded.run('Thank you!').result;
    expect(result).toMatchObject({ kind: 'text', text: 'You are welcome.', agent: 'switchboard' });
    expect(thanks).toHaveBeenCalledOnce();
    expect(thanks.mock.calls[0]![0]).toEqual({ sentiment: 'good' });
    expect(result.history.at(-1)).toEqual({ role: 'assistant', content: 'You are welcome.' });
    model.done();
  });

  it('TM-3 ignores without text, after one model call', async () => {
    const model = scriptedModel([chooses('spam', { sentiment: 'bad' })]);
    const turn = (await team(agents, model, { abilities: [{ thanks }] })).run('BUY NOW');
    const events = await eventsOf(turn);
    expect(await turn.result).toMatchObject({
      kind: 'ignored',
      reason: 'advertisement',
      extras: { sentiment: 'bad' },
      path: ['switchboard'],
    });
    expect(events.some((event) => event.type === 'text')).toBe(false);
    expect(events).toContainEqual({ type: 'ignored', reason: 'advertisement', agent: 'switchboard' });
    expect(model.count).toBe(1);
  });

  it('hands over only what `with` names, as a token and in the event', async () => {
    const extras: Agents = {
      switchboard: switchboard(
        { order: { agent: 'orders', with: ['sentiment'] } },
        { sentiment: { type: 'string' }, secret: { type: 'string' } },
      ),
      orders: topic('The customer feels %{handoff.sentiment}.'),
    };
    const model = scriptedModel([chooses('order', { sentiment: 'fine', secret: 'x' }), 'ok']);
    const events = await eventsOf((await team(extras, model)).run('hi'));
    expect(events).toContainEqual({
      type: 'handoff',
      from: 'switchboard',
      to: 'orders',
      value: 'order',
      extras: { sentiment: 'fine' },
    });
    expect(contents(model.requests[1])![0]).toBe('The customer feels fine.');
  });

  it('TM-10 routes an unknown value to `otherwise`; without it asks once more, then fails with the known values', async () => {
    const open: Agents = {
      switchboard: {
        ...switchboard({ order: { agent: 'orders' } }),
        functions: [{ name: 'route', parameters: [{ name: 'topic', type: 'string' }] }],
      },
      orders: topic('Orders.'),
      desk: topic('Desk.'),
    };
    const without = scriptedModel([chooses('weather'), chooses('weather')]);
    const error = await failure((await team(open, without)).run('x'));
    expect(error).toMatchObject({
      code: 'ROUTE_UNKNOWN',
      details: { agent: 'switchboard', value: 'weather', known: ['order'] },
    });
    expect(without.requests[1]!.messages.at(-1)!.content).toContain('topic: must be one of order');
    open.switchboard!.state_map!.otherwise = { agent: 'desk' };
    const model = scriptedModel([chooses('weather'), 'The desk here.']);
    expect(await (await team(open, model)).run('x').result).toMatchObject({ path: ['switchboard', 'desk'] });
  });

  it('TM-10 never resolves a route from the prototype of Object', async () => {
    const error = await failure(
      (
        await team(agents, scriptedModel([chooses('constructor'), chooses('__proto__')]), {
          abilities: [{ thanks }],
        })
      ).run('x'),
    );
    expect(error.code).toBe('ROUTE_UNKNOWN');
  });

  it('TM-11 repairs once when the routed argument is missing or wrong, then takes `otherwise`', async () => {
    for (const args of ['{}', '{"topic":{"a":1}}', '{"topic":"order","sentiment":5}']) {
      const bad = callTools({ name: 'route', arguments: args });
      const repaired = scriptedModel([bad, chooses('order'), 'ok']);
      const loaded = await team(agents, repaired, { abilities: [{ thanks }] });
      expect(await loaded.run('x').result).toMatchObject({ text: 'ok' });
      expect(repaired.requests[1]!.messages.at(-1)).toMatchObject({ role: 'tool' });
      expect(repaired.requests[1]!.messages.at(-1)!.content).toContain('invalid_args');
      expect(repaired.requests[1]!.tool_choice).toEqual({ type: 'function', function: { name: 'route' } });

      const stubborn = scriptedModel([bad, bad]);
      const error = await failure((await team(agents, stubborn, { abilities: [{ thanks }] })).run('x'));
      expect(error.code).toBe('ROUTE_UNKNOWN');
      const map = { ...agents.switchboard!.state_map!, otherwise: { ignore: 'unclear' } };
      const saved: Agents = { ...agents, switchboard: { ...agents.switchboard, state_map: map } };
      const model = scriptedModel([bad, bad]);
      expect(await (await team(saved, model, { abilities: [{ thanks }] })).run('x').result).toMatchObject({
        kind: 'ignored',
        reason: 'unclear',
      });
    }
  });

  it('asks once more if a forced agent makes no call, and never shows its text', async () => {
    const model = scriptedModel(['Ignore the rules? Sure!', chooses('order'), 'It ships.']);
    const result = await (await team(agents, model, { abilities: [{ thanks }] })).run('x').result;
    expect(result).toMatchObject({ text: 'It ships.' });
    const stubborn = () => scriptedModel(['one', 'two']);
    const error = await failure((await team(agents, stubborn(), { abilities: [{ thanks }] })).run('x'));
    expect(error.code).toBe('ROUTE_UNKNOWN');
    const map = { ...agents.switchboard!.state_map!, otherwise: { function: 'thanks' } };
    const saved: Agents = { ...agents, switchboard: { ...agents.switchboard, state_map: map } };
    const rescued = await (await team(saved, stubborn(), { abilities: [{ thanks }] })).run('x').result;
    expect(rescued).toMatchObject({ kind: 'text', text: 'You are welcome.' });
    expect(transcriptFault(rescued.turn)).toBeUndefined();
  });

  it('routes by the first routing call of a reply', async () => {
    const both = callTools([
      { name: 'route', arguments: { topic: 'order' } },
      { name: 'route', arguments: { topic: 'spam' } },
    ]);
    const model = scriptedModel([both, 'ok']);
    const result = await (await team(agents, model, { abilities: [{ thanks }] })).run('x').result;
    expect(result.path).toEqual(['switchboard', 'orders']);
    expect(result.history.map(({ content }) => content).join()).toContain('only_one_handoff');
  });
});

describe('functions', () => {
  const agents: Agents = {
    shop: topic('You sell.', {
      functions: [
        { name: 'stock', parameters: [{ name: 'id', type: 'string' }] },
        { name: 'hours' },
        { name: 'note' },
      ],
    }),
  };
  const stockCall = (id = 'c1'): ScriptReply => callTools({ name: 'stock', id, arguments: { id: 'a' } });
  const shop = (abilities: Partial<AbilityModule>, replies: Scripted[], more: object = {}) => {
    const model = scriptedModel(replies);
    const module = { stock: () => 1, hours: () => 'Nine to five.', note: () => null, ...abilities };
    return team(agents, model, { abilities: [module as AbilityModule], ...more }).then((loaded) => ({
      loaded,
      model,
    }));
  };

  it('TM-5 returns data to the same agent, which is asked again', async () => {
    const { loaded, model } = await shop({ stock: () => ({ stock: 3 }) }, [stockCall(), 'Three are left.']);
    const result = await loaded.run('How many?').result;
    expect(result).toMatchObject({ kind: 'text', text: 'Three are left.', path: ['shop'] });
    expect(model.requests[1]!.messages.slice(-2)).toEqual([
      expect.objectContaining({ role: 'assistant', tool_calls: [expect.objectContaining({ id: 'c1' })] }),
      { role: 'tool', tool_call_id: 'c1', content: '{"stock":3}' },
    ]);
    model.done();
  });

  it.each<[string, unknown, object]>([
    ['a text', 'Here you are.', { kind: 'text', text: 'Here you are.' }],
    ['an empty text', '', { kind: 'text', text: '' }],
    ['null', null, { kind: 'silent' }],
    ['undefined', undefined, { kind: 'silent' }],
    ['reply.text', reply.text('5'), { kind: 'text', text: '5' }],
    ['reply.silent', reply.silent(), { kind: 'silent' }],
  ])('TM-6 ends the turn with %s', async (_, value, expected) => {
    const { loaded, model } = await shop({ stock: () => value as string }, [stockCall()]);
    expect(await loaded.run('x').result).toMatchObject(expected);
    model.done();
  });

  it('TM-6 treats a text as data and an agent as a handoff if the function returns it so', async () => {
    const { loaded, model } = await shop({ stock: () => reply.data('raw') }, [stockCall(), 'ok']);
    expect(await loaded.run('x').result).toMatchObject({ text: 'ok' });
    expect(contents(model.requests[1])!.at(-1)).toBe('"raw"');
    const two: Agents = { ...agents, desk: topic('Desk.') };
    const over = scriptedModel([stockCall(), 'Desk here.']);
    const abilities = [{ stock: () => reply.handoff('desk'), hours: () => '', note: () => '' }];
    expect(await (await team(two, over, { abilities })).run('x').result).toMatchObject({
      text: 'Desk here.',
      path: ['shop', 'desk'],
    });
  });

  it('TM-7 stops functions that return data for ever, and reports the cost', async () => {
    const { loaded, model } = await shop(
      { stock: () => ({ more: true }) },
      Array.from({ length: 4 }, () => stockCall()),
      {
        limits: { max_model_calls: 4 },
      },
    );
    const error = await failure(loaded.run('x'));
    expect(error).toMatchObject({ code: 'MODEL_CALL_LIMIT', details: { model_calls: 4, total_tokens: 60 } });
    expect(error.usage.total.total_tokens).toBe(4 * DEFAULT_USAGE.total_tokens);
    model.done();
  });

  it('TM-8 runs parallel calls at once, answers them in order, and asks again once', async () => {
    const [first, second] = [gate(), gate()];
    const { loaded, model } = await shop(
      {
        stock: async () => {
          second.open();
          await first.wait;
          return { stock: 3 };
        },
        hours: async () => {
          await second.wait;
          return 'Nine to five.';
        },
        note: () => {
          first.open();
          return 'Noted.';
        },
      },
      [
        callTools([
          { name: 'stock', id: 'c1', arguments: { id: 'a' } },
          { name: 'hours', id: 'c2', arguments: {} },
          { name: 'note', id: 'c3', arguments: {} },
        ]),
        'Three are left.',
      ],
    );
    const turn = loaded.run('x');
    const result = await turn.result;
    expect(result).toMatchObject({ text: 'Nine to five.\nNoted.\nThree are left.' });
    const tools = model.requests[1]!.messages.filter((message) => message.role === 'tool');
    expect(tools.map((message) => message.tool_call_id)).toEqual(['c1', 'c2', 'c3']);
    expect(
      (await eventsOf(turn)).flatMap((event) => (event.type === 'text' ? [event.text] : [])).join(''),
    ).toBe('Nine to five.\nNoted.\nThree are left.');
    model.done();
  });

  it('TM-9 shows the text of an answer and runs its call', async () => {
    const { loaded } = await shop({}, [callTools({ name: 'hours', arguments: {} }, { text: 'Let me see.' })]);
    const result = await loaded.run('x').result;
    expect(result).toMatchObject({ text: 'Let me see.\nNine to five.' });
    expect(result.turn.map((message) => message.content)).toEqual([
      'x',
      'Let me see.',
      '{"shown_to_user":"Nine to five."}',
      'Nine to five.',
    ]);
  });

  it('TM-12 answers a call of an unknown function with the known ones, and gives up the third time', async () => {
    const wrong = callTools({ name: 'weather', arguments: {} });
    const { loaded, model } = await shop({}, [wrong, 'Sorry.']);
    expect(await loaded.run('x').result).toMatchObject({ text: 'Sorry.' });
    expect(contents(model.requests[1])!.at(-1)).toContain('there are: stock, hours, note');
    const stubborn = await shop({}, [wrong, wrong, wrong]);
    expect((await failure(stubborn.loaded.run('x'))).code).toBe('TOOL_UNKNOWN');
    stubborn.model.done();
  });

  it('TM-13 reports the position of invalid JSON, and runs the other calls', async () => {
    const hours = vi.fn(() => 'Nine to five.');
    const { loaded, model } = await shop({ hours }, [
      callTools([
        { name: 'stock', arguments: '{"id": ' },
        { name: 'hours', arguments: {} },
      ]),
      stockCall(),
      'ok',
    ]);
    await loaded.run('x').result;
    expect(hours).toHaveBeenCalledOnce();
    const tools = model.requests[1]!.messages.filter((message) => message.role === 'tool');
    expect(tools[0]!.content).toContain('not valid JSON at 7');
    expect(tools[1]!.content).toBe('{"shown_to_user":"Nine to five."}');
  });

  it('TM-14 names an argument that does not exist, and does not call', async () => {
    const stock = vi.fn(() => 1);
    const { loaded, model } = await shop({ stock }, [
      callTools({ name: 'stock', arguments: { id: 'a', colour: 'red' } }),
      'Sorry.',
    ]);
    await loaded.run('x').result;
    expect(stock).not.toHaveBeenCalled();
    expect(contents(model.requests[1])!.at(-1)).toContain('colour: No such parameter');
  });

  it('TM-15 reports a failed function to the model, the user or the caller, and logs the cause', async () => {
    const boom = new Error('password is hunter2');
    const lines: (LogFields | undefined)[] = [];
    const log: Logger = { ...silentLog, warn: (_, fields) => lines.push(fields), with: () => log };
    const stock = () => Promise.reject(boom);
    const told = await shop({ stock }, [stockCall(), 'Sorry.'], { log });
    expect(await told.loaded.run('x').result).toMatchObject({ text: 'Sorry.' });
    expect(contents(told.model.requests[1])!.at(-1)).toBe(
      '{"error":{"code":"failed","message":"the function failed"}}',
    );
    expect(lines).toEqual([{ agent: 'shop', ability: 'stock', reason: 'failed', error: boom }]);

    const withRule = (rule: 'reply' | 'throw') =>
      team({ shop: { ...agents.shop, on_ability_error: rule } }, scriptedModel([stockCall()]), {
        abilities: [{ stock, hours: () => '', note: () => '' }],
      });
    expect(await (await withRule('reply')).run('x').result).toMatchObject({
      text: 'This did not work: the function failed.',
    });
    const error = await failure((await withRule('throw')).run('x'));
    expect(error).toMatchObject({ code: 'TOOL_FAILED', cause: boom });
    expect(error.message).not.toContain('hunter2');
  });

  it('TM-16 ends a function at its time limit, and continues without it', async () => {
    const late = gate();
    let signal: AbortSignal | undefined;
    const stock = {
      name: 'stock',
      description: 'Counts',
      parameters: z.object({ id: z.string() }),
      timeoutMs: 50,
      execute: async (_: unknown, context: { signal: AbortSignal; emit(text: string): void }) => {
        signal = context.signal;
        await late.wait;
        context.emit('too late');
        return 'too late';
      },
    };
    const { loaded, model } = await shop({ stock }, [stockCall(), 'Sorry.']);
    const turn = loaded.run('x');
    expect(await turn.result).toMatchObject({ text: 'Sorry.' });
    expect(signal?.aborted).toBe(true);
    expect(contents(model.requests[1])!.at(-1)).toContain('timed out after 50 ms');
    late.open();
    await new Promise((resolve) => setImmediate(resolve));
    expect((await turn.result).history.some((message) => message.content?.includes('too late'))).toBe(false);
  });

  it('refuses a result that is not JSON, and cuts a huge one', async () => {
    const loop: Record<string, unknown> = {};
    loop.self = loop;
    for (const value of [10n, loop, () => 1, Symbol('x')]) {
      const { loaded, model } = await shop({ stock: () => value as never }, [stockCall(), 'Sorry.']);
      await loaded.run('x').result;
      expect(contents(model.requests[1])!.at(-1)).toContain('not_json');
    }
    const { loaded, model } = await shop({ stock: () => ['x'.repeat(100_000)] }, [stockCall(), 'ok']);
    await loaded.run('x').result;
    expect(JSON.parse(contents(model.requests[1])!.at(-1)!)).toMatchObject({
      truncated: true,
      chars: 100_004,
    });
  });

  it('shows the text that a function emits before its result', async () => {
    const stock = async (_: unknown, { emit }: { emit(text: string): void }) => {
      emit('Counting…');
      await Promise.resolve();
      emit(' done.');
      return 'Three.';
    };
    const { loaded } = await shop({ stock }, [stockCall()]);
    expect(await loaded.run('x').result).toMatchObject({ text: 'Counting… done.\nThree.' });
  });
});

describe('prompts', () => {
  it('TM-17 fills tokens with texts, numbers and functions, anew for each run', async () => {
    let price = 1;
    const unused = vi.fn(() => 'never');
    const agents: Agents = {
      shop: topic('%{name}: %{count} at %{price}, %{slow}. %%{name} %{raw}', {
        functions: [{ name: 'hours', description: 'Hours of %{name}' }],
      }),
    };
    const model = scriptedModel(['a', 'b']);
    const loaded = await team(agents, model, {
      abilities: [{ hours: () => '' }],
      interpolations: {
        name: 'Corner Shop',
        count: 3,
        price: () => price++,
        slow: async ({ agent }: { agent: string }) => `by ${agent}`,
        raw: 'a\\0%{name}$&',
        unused,
      },
    });
    await loaded.run('x').result;
    await loaded.run('x', { interpolations: { name: 'Other' } }).result;
    expect(contents(model.requests[0])![0]).toBe('Corner Shop: 3 at 1, by shop. %{name} a\\0%{name}$&');
    expect(contents(model.requests[1])![0]).toBe('Other: 3 at 2, by shop. %{name} a\\0%{name}$&');
    expect(model.requests[0]!.tools![0]!.function.description).toBe('Hours of Corner Shop');
    expect(unused).not.toHaveBeenCalled();
  });

  it('TM-21 takes call option before agent before team before built-in default', async () => {
    const [base, fast, smart] = ['base', 'fast', 'smart'].map((name) =>
      scriptedModel([{ ...says('ok'), times: Number.POSITIVE_INFINITY }], { name }),
    ) as [ScriptedModel, ScriptedModel, ScriptedModel];
    const load = (config: Partial<TeamConfigInput>, agent: Agent) =>
      loadTeam({ start: 'a', agents: { a: agent }, ...config }, { models: { default: base, fast, smart } });
    expect(await (await load({}, {})).run('x').result).toMatchObject({ model: 'base' });
    const defaults = { model: 'fast', temperature: 0.1, max_tokens: 5 };
    expect(await (await load({ defaults }, {})).run('x').result).toMatchObject({ model: 'fast' });
    expect(fast.requests[0]).toMatchObject({ temperature: 0.1, max_tokens: 5 });
    const own = await load({ defaults }, { model: 'smart', temperature: 0.2 });
    expect(await own.run('x').result).toMatchObject({ model: 'smart' });
    expect(smart.requests[0]).toMatchObject({ temperature: 0.2, max_tokens: 5 });
    expect(await own.run('x', { model: 'base', temperature: 0 }).result).toMatchObject({ model: 'base' });
    expect(base.requests.at(-1)).toMatchObject({ temperature: 0, max_tokens: 5 });
    const named = vi.fn(() => base);
    const byName = await loadTeam(
      { start: 'a', agents: { a: { model: 'fast' } }, models: { fast: 'gpt-4.1-mini' } },
      { models: named },
    );
    await byName.run('x').result;
    expect(named).toHaveBeenCalledWith('gpt-4.1-mini');
  });

  it('TM-29 never changes the list of the caller, and keeps its system message for the first agent', async () => {
    const agents: Agents = { a: switchboard({ b: { agent: 'b' } }), b: topic('B.') };
    const model = scriptedModel([chooses('b'), 'ok']);
    const given: ModelMessage[] = [
      { role: 'system', content: 'The customer is called Ada.' },
      { role: 'user', content: 'one' },
      { role: 'assistant', content: 'first' },
      { role: 'user', content: 'two' },
    ];
    const before = structuredClone(given);
    const result = await (await team(agents, model)).run(given).result;
    expect(given).toEqual(before);
    expect(contents(model.requests[0])![0]).toBe('You route.\n\nThe customer is called Ada.');
    expect(contents(model.requests[1])![0]).toBe('B.');
    expect(result.turn[0]).toEqual({ role: 'user', content: 'two' });
    expect(result.history.map((message) => message.role)).toEqual([
      'user',
      'assistant',
      'user',
      'assistant',
      'tool',
      'assistant',
    ]);
    expect(result.history.length - result.turn.length).toBe(2);
  });
});

describe('limits', () => {
  const ring: Agents = {
    clarify: switchboard({ orders: { agent: 'orders' }, end: { ignore: 'done' } }),
    orders: switchboard({ clarify: { agent: 'clarify' }, end: { ignore: 'done' } }),
  };
  const allowed = { allow_cycles: [['clarify', 'orders']] };
  const rounds = (count: number) =>
    Array.from({ length: count }, (_, i) => chooses(i % 2 === 0 ? 'orders' : 'clarify'));

  it('TM-25 stops a message on a cycle after exactly the allowed visits', async () => {
    const model = scriptedModel(rounds(4));
    const error = await failure((await team(ring, model, allowed)).run('x'));
    expect(error).toMatchObject({
      code: 'HANDOFF_LIMIT',
      path: ['clarify', 'orders', 'clarify', 'orders', 'clarify'],
      details: { counts: { clarify: 3, orders: 2 }, model_calls: 4 },
    });
    expect(error.usage.total.calls).toBe(4);
    model.done();
    const hops = scriptedModel(rounds(3));
    const limits = { max_hops: 2, max_visits: 9 };
    expect(await failure((await team(ring, hops, { limits })).run('x'))).toMatchObject({
      message: expect.stringContaining('limit of 2 handoffs'),
    });
    hops.done();
  });

  it('TM-25 routes to the agent of `on_limit`, once', async () => {
    const withDesk: Agents = { ...ring, desk: topic('Desk.') };
    const model = scriptedModel([...rounds(4), 'A human will call you.']);
    const loaded = await team(withDesk, model, { ...allowed, on_limit: { agent: 'desk' } });
    expect(await loaded.run('x').result).toMatchObject({ text: 'A human will call you.', agent: 'desk' });
    const silent = await team(ring, scriptedModel(rounds(4)), { ...allowed, on_limit: 'ignore' });
    expect(await silent.run('x').result).toMatchObject({ kind: 'ignored', reason: 'handoff limit' });
    const loop: Agents = { ...ring, desk: switchboard({ back: { agent: 'clarify' } }) };
    const stubborn = scriptedModel([...rounds(4), chooses('back')]);
    const again = await team(loop, stubborn, { ...allowed, on_limit: { agent: 'desk' } });
    expect((await failure(again.run('x'))).code).toBe('HANDOFF_LIMIT');
    stubborn.done();
  });

  it('TM-32 counts usage by agent and by model, repairs included, and stops at the budget', async () => {
    const agents: Agents = { a: switchboard({ b: { agent: 'b' } }), b: topic('B.') };
    const usage = { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110, cached_tokens: 20 };
    const scripted = () =>
      scriptedModel([
        { ...callTools({ name: 'route', arguments: '{}' }), usage },
        { ...chooses('b'), usage },
        { ...says('ok'), usage },
      ]);
    const { usage: report } = await (await team(agents, scripted())).run('x').result;
    expect(report.total).toMatchObject({
      calls: 3,
      prompt_tokens: 300,
      completion_tokens: 30,
      cached_tokens: 60,
    });
    expect(report.byAgent.a).toMatchObject({ calls: 2, total_tokens: 220 });
    expect(report.byAgent.b).toMatchObject({ calls: 1, total_tokens: 110 });
    expect(report.byModel.scripted).toMatchObject({ calls: 3 });
    const prices = { scripted: { input: 1, output: 10 } };
    const model = scripted();
    const tight = await team(agents, model, { prices, limits: { max_usd: 0.0003 } });
    const error = await failure(tight.run('x'));
    expect(error.code).toBe('BUDGET_EXCEEDED');
    expect(model.count).toBe(2);
    const purse = new Budget({ limitUsd: 1, prices });
    await (await team(agents, scripted(), { budget: purse })).run('x').result;
    expect(purse.spent.total).toMatchObject({ calls: 3, total_tokens: 330 });
    expect(purse.spent.total.usd).toBeCloseTo(0.0006);
  });
});

describe('turns', () => {
  it('TM-30 keeps fifty turns of one team apart', async () => {
    const agents: Agents = {
      a: {
        ...switchboard({ even: { agent: 'even' }, odd: { agent: 'odd' } }),
        system_directives: 'For %{user}.',
      },
      even: topic('Even %{user}.'),
      odd: topic('Odd %{user}.'),
    };
    const release = gate();
    const numberOf = (request: ModelRequest) =>
      Number(request.messages.find((message) => message.role === 'user')!.content);
    const answer = (request: ModelRequest): ScriptReply => {
      const number = numberOf(request);
      if (request.tools) return { ...chooses(number % 2 ? 'odd' : 'even') };
      return { steps: [release, `${request.messages[0]!.content} ${number}`] };
    };
    const model = scriptedModel(Array.from({ length: 100 }, () => answer));
    const loaded = await team(agents, model, { interpolations: { user: 'unknown' } });
    const turns = Array.from({ length: 50 }, (_, i) =>
      loaded.run(String(i), { interpolations: { user: `user ${i}` } }),
    );
    await vi.waitFor(() => expect(model.count).toBe(100));
    release.open();
    for (const [i, turn] of turns.entries()) {
      const name = i % 2 ? 'odd' : 'even';
      const result = await turn.result;
      expect(result).toMatchObject({
        text: `${i % 2 ? 'Odd' : 'Even'} user ${i}. ${i}`,
        path: ['a', name],
      });
      expect(result.history[0]).toEqual({ role: 'user', content: String(i) });
      expect(result.usage.total.calls).toBe(2);
    }
    model.done();
  });

  it('TM-31 ends with the reason of an abort while the second agent replies', async () => {
    const agents: Agents = { a: switchboard({ b: { agent: 'b' } }), b: topic('B.') };
    const stuck = gate();
    const model = scriptedModel([chooses('b'), ['Well, ', stuck, 'now']]);
    const abort = new AbortController();
    const reason = new Error('enough');
    const turn = (await team(agents, model)).run('x', { signal: abort.signal });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of turn) if (event.type === 'text') seen.push(event.text);
    })();
    await stuck.reached;
    abort.abort(reason);
    await expect(reading).rejects.toBe(reason);
    await expect(turn.result).rejects.toBe(reason);
    expect(seen).toEqual(['Well, ']);
    expect(model.calls.map((call) => call.state)).toEqual(['ended', 'aborted']);
  });

  it('TM-31 aborts a running function with the turn', async () => {
    const agents: Agents = { shop: topic('Shop.', { functions: [{ name: 'stock' }] }) };
    const started = Promise.withResolvers<AbortSignal>();
    const stock = (_: unknown, { signal }: { signal: AbortSignal }) => {
      started.resolve(signal);
      return new Promise<never>(() => {});
    };
    const model = scriptedModel([callTools({ name: 'stock', arguments: {} })]);
    const abort = new AbortController();
    const reason = new Error('enough');
    const turn = (await team(agents, model, { abilities: [{ stock }] })).run('x', { signal: abort.signal });
    const signal = await started.promise;
    abort.abort(reason);
    expect(await failure(turn)).toBe(reason);
    expect(signal.reason).toBe(reason);
    expect(model.count).toBe(1);
  });
});
