// Teams and the refining dialogue on the fabric: each agent on a link of its own, a real sentinel between them, scripted models.
import { join } from 'node:path';
import { type Agent, ChatAgent, type ModelRequest, type Serving } from '@fame-fabric/agents';
import type { ConversationEvent } from '@fame-fabric/agents/internal';
import { RefineAgent } from '@fame-fabric/agents/strategy';
import { type AbilityModule, loadTeam, TeamAgent, type TeamConfigInput } from '@fame-fabric/agents/team';
import {
  callTools,
  gate,
  reply,
  type ScriptedModel,
  type ScriptReply,
  scriptedModel,
  system,
} from '@fame-fabric/agents/testing';
import type { Link, Task } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { fameArgs, type Proc, ROOT, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let client: Link;
const servings: Serving[] = [];

beforeAll(async () => {
  sentinel = await startOurSentinel();
  client = await connectLink(sentinel.url);
});
afterEach(async () => {
  for (const serving of servings.splice(0)) await serving.close();
});
afterAll(closeLinks);

const serve = async (agent: Agent): Promise<void> => {
  servings.push(await agent.serve(await connectLink(sentinel.url)));
};
type Agents = Extract<TeamConfigInput['agents'], object>;
const serveTeam = async (
  config: Omit<TeamConfigInput, 'start'> & { agents: Agents },
  model: ScriptedModel,
  abilities: AbilityModule[] = [],
): Promise<void> => {
  const start = Object.keys(config.agents)[0]!;
  await serve(
    new TeamAgent({ team: await loadTeam({ ...config, start }, { models: { default: model }, abilities }) }),
  );
};
const router = (map: NonNullable<Agents[string]['state_map']>['values_map'], extra = {}): Agents[string] => ({
  system_directives: 'You route.',
  functions: [
    {
      name: 'route',
      parameters: {
        type: 'object',
        properties: { topic: { type: 'string', enum: Object.keys(map) }, ...extra },
      },
    },
  ],
  function_call: { name: 'route' },
  state_map: { function_name: 'route', argument_name: 'topic', values_map: map },
});
const chooses = (topic: string, extra = {}): ScriptReply =>
  callTools({ name: 'route', arguments: { topic, ...extra } });

/** Sends messages to any conversation agent and returns its answers. */
async function talk(address: string, lines: readonly string[], start: object = {}) {
  const id = `conversation-${crypto.randomUUID()}`;
  const task = (await client.call(address, 'start_task', { id, payload: start })) as Task;
  const answers: string[] = [];
  for (const [i, line] of lines.entries()) {
    const params = { conversation_id: id, user_message: line };
    if (i % 2 === 1) {
      answers.push((await client.call(address, 'run_turn', params, { timeoutMs: 10_000 })) as string);
      continue;
    }
    let streamed = '';
    for await (const item of client.stream(address, 'run_turn_stream', params, { timeoutMs: 10_000 })) {
      const event = item as ConversationEvent;
      if (event.type === 'text') streamed += event.text;
      if (event.type === 'error') throw Object.assign(new Error(event.message), { code: event.code });
      if (event.type === 'done') expect(event.text).toBe(streamed);
    }
    answers.push(streamed);
  }
  return { id, task, answers };
}
const end = (address: string, id: string) =>
  client.call(address, 'end_conversation', { conversation_id: id });

describe('a team on the fabric', () => {
  it('TM-4 streams the answer of the topic agent while its model is still talking', async () => {
    const rest = gate();
    const model = scriptedModel([
      chooses('clean'),
      chooses('orders'),
      { steps: ['It left ', rest, 'this morning.'], when: system('You know orders.') },
    ]);
    await serveTeam(
      {
        address: 'shop@fame.fabric',
        agents: {
          bouncer: router({ clean: { agent: 'switchboard' }, attack: { ignore: 'attack' } }),
          switchboard: router({ orders: { agent: 'orders' }, spam: { ignore: 'spam' } }),
          orders: { system_directives: 'You know orders.' },
        },
      },
      model,
    );
    const id = 'tm-4';
    await client.call('shop@fame.fabric', 'start_task', { id });
    const seen: string[] = [];
    const params = { conversation_id: id, user_message: 'Where is my order?' };
    for await (const item of client.stream('shop@fame.fabric', 'run_turn_stream', params)) {
      const event = item as ConversationEvent;
      if (event.type === 'text') {
        seen.push(event.text);
        rest.open();
      }
      if (event.type === 'done')
        expect(event).toMatchObject({ text: 'It left this morning.', usage: { total_tokens: 45 } });
    }
    expect(seen.join('')).toBe('It left this morning.');
    expect(seen.length).toBeGreaterThan(1);
    model.done();
  });

  it('keeps the history for the next turn, without the directives', async () => {
    const model = scriptedModel([chooses('orders'), 'First.', chooses('orders'), 'Second.']);
    await serveTeam(
      {
        address: 'shop@fame.fabric',
        agents: {
          a: router({ orders: { agent: 'b' }, spam: { ignore: 'x' } }),
          b: { system_directives: 'B.' },
        },
      },
      model,
    );
    const { answers } = await talk('shop@fame.fabric', ['one', 'two']);
    expect(answers).toEqual(['First.', 'Second.']);
    const asked = model.requests[3]!.messages;
    expect(asked.filter((message) => message.role === 'system')).toEqual([{ role: 'system', content: 'B.' }]);
    expect(asked.filter((message) => message.role === 'user').map((message) => message.content)).toEqual([
      'one',
      'two',
    ]);
    expect(asked.some((message) => message.content === 'First.')).toBe(true);
  });

  it('hands over to any conversation agent, by address and by capability', async () => {
    const desk = scriptedModel(['A human will call you.', 'Paid.']);
    await serve(new ChatAgent({ address: 'desk@fame.fabric', capabilities: ['billing'], model: desk }));
    const model = scriptedModel([chooses('human'), chooses('money')]);
    await serveTeam(
      {
        address: 'shop@fame.fabric',
        agents: {
          a: router({ human: { agent: 'desk@fame.fabric' }, money: { agent: 'capability:billing' } }),
        },
      },
      model,
    );
    const { answers } = await talk('shop@fame.fabric', ['A human, please', 'My bill?']);
    expect(answers).toEqual(['A human will call you.', 'Paid.']);
    expect(desk.requests[0]!.messages.at(-1)).toEqual({ role: 'user', content: 'A human, please' });
  });

  it('FB-6 passes counters and values on with a hand-over, and refuses it when the limit is reached', async () => {
    const far = scriptedModel([chooses('end'), 'Answer from afar.']);
    await serveTeam(
      {
        address: 'far@fame.fabric',
        limits: { max_hops: 2, max_visits: 2 },
        agents: {
          entry: {
            ...router({ end: { agent: 'last' } }),
            system_directives: 'Mood: %{handoff.mood}',
            optional_tokens: ['handoff.mood'],
          },
          last: { system_directives: 'Last.' },
        },
      },
      far,
    );
    const near = (hops: number) => ({
      address: `near${hops}@fame.fabric`,
      limits: { max_hops: 2 },
      agents: {
        start:
          hops === 1
            ? router({ far: { agent: 'far@fame.fabric', with: ['mood'] } }, { mood: { type: 'string' } })
            : router({ on: { agent: 'second' } }),
        ...(hops === 1 ? {} : { second: router({ far: { agent: 'far@fame.fabric' } }) }),
      },
    });
    const one = scriptedModel([chooses('far', { mood: 'glad' })]);
    await serveTeam(near(1), one);
    expect((await talk('near1@fame.fabric', ['hi'])).answers).toEqual(['Answer from afar.']);
    expect(far.requests[0]!.messages[0]!.content).toBe('Mood: glad');

    // One handoff more before the hand-over, so the last one on the other node exceeds the limit.
    far.push(chooses('end'));
    const two = scriptedModel([chooses('on'), chooses('far')]);
    await serveTeam(near(2), two);
    await expect(talk('near2@fame.fabric', ['hi'])).rejects.toMatchObject({
      code: 'HANDOFF_LIMIT',
      message: expect.stringMatching(
        /limit of 2 handoffs: near2@fame\.fabric → second:near2@fame\.fabric → far@fame\.fabric/,
      ),
    });
    far.done();
  });

  it('FB-6 limits the other node to the remaining budget', async () => {
    const prices = { scripted: { input: 100, output: 100 } };
    const usage = { prompt_tokens: 1_000, completion_tokens: 0, total_tokens: 1_000 };
    const rich = scriptedModel([{ ...chooses('end'), usage }]);
    await serveTeam(
      {
        address: 'rich@fame.fabric',
        prices,
        limits: { max_usd: 10 },
        agents: { a: router({ end: { agent: 'b' } }), b: { system_directives: 'B.' } },
      },
      rich,
    );
    const poor = scriptedModel([{ ...chooses('go'), usage }]);
    await serveTeam(
      {
        address: 'poor@fame.fabric',
        prices,
        limits: { max_usd: 0.15 },
        agents: { a: router({ go: { agent: 'rich@fame.fabric' } }) },
      },
      poor,
    );
    await expect(talk('poor@fame.fabric', ['hi'])).rejects.toMatchObject({ code: 'BUDGET_EXCEEDED' });
    expect([poor.count, rich.count]).toEqual([1, 1]);
  });

  it('TM-26 bounds a message that two nodes pass to each other, and names both', async () => {
    const always = (topic: string) => ({ ...chooses(topic), times: Number.POSITIVE_INFINITY });
    const [one, two] = [scriptedModel([always('over')]), scriptedModel([always('back')])];
    await serveTeam({ address: 'a@n1', agents: { a: router({ over: { agent: 'b@n2' } }) } }, one);
    await serveTeam({ address: 'b@n2', agents: { b: router({ back: { agent: 'a@n1' } }) } }, two);
    await expect(talk('a@n1', ['hi'])).rejects.toMatchObject({
      code: 'HANDOFF_LIMIT',
      message: '"a@n1" had the message 2 times already: a@n1 → b@n2 → a@n1 → b@n2 → a@n1',
    });
    expect([one.count, two.count]).toEqual([2, 2]);
  });
});

describe('the refining dialogue on the fabric', () => {
  const asks = (goal: string, ...questions: string[]): ScriptReply =>
    callTools({ name: 'refine_requirements', arguments: { reformulated_goal: goal, questions } });
  const confirms = (goal: string): ScriptReply =>
    callTools({ name: 'request_confirmation', arguments: { reformulated_goal: goal, question: 'Right?' } });
  const hands = (goal: string, ...goals: string[]): ScriptReply =>
    callTools({ name: 'validate_requirements', arguments: { goal_sentence: goal, goals } });
  const get = async (id: string) =>
    ((await client.call('refine@fame.fabric', 'tasks/get', { id })) as Task).status.state;

  it('ST-23 asks from the start, needs input until the goals are confirmed, and is completed then', async () => {
    const model = scriptedModel([
      asks('A site', 'For whom?'),
      confirms('A site for a bakery'),
      hands('Build it', 'Pages'),
    ]);
    await serve(new RefineAgent({ models: { default: model } }));
    const id = 'st-23';
    const task = (await client.call('refine@fame.fabric', 'start_task', {
      id,
      payload: { objective: 'I need a site' },
    })) as Task;
    expect(task.status).toMatchObject({
      state: 'input-required',
      message: { parts: [{ type: 'text', text: 'A site\n\n1. For whom?' }] },
    });
    const say = (user_message: string) =>
      client.call('refine@fame.fabric', 'run_turn', { conversation_id: id, user_message });
    expect(await say('A bakery')).toBe('A site for a bakery\n\nRight?');
    expect(await get(id)).toBe('input-required');
    expect(await say('yes')).toBe('Build it\n\n- Pages');
    expect(await get(id)).toBe('completed');
    await expect(say('more')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    await end('refine@fame.fabric', id);
    await expect(say('more')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    model.done();
  });

  it('ST-22 keeps the goals of two people apart', async () => {
    const of = (word: string, script: ScriptReply): ScriptReply => ({
      ...script,
      when: (request: ModelRequest) =>
        request.messages.some((message) => message.content === `I want a ${word}`),
    });
    const model = scriptedModel([
      of('boat', asks('A boat', 'Sails?')),
      of('house', asks('A house', 'Floors?')),
      of('house', confirms('A house with two floors')),
      of('boat', confirms('A boat with sails')),
    ]);
    await serve(new RefineAgent({ models: { default: model } }));
    const say = (conversation_id: string, user_message: string) =>
      client.call('refine@fame.fabric', 'run_turn', { conversation_id, user_message });
    for (const word of ['boat', 'house'])
      await client.call('refine@fame.fabric', 'start_task', { id: `st-22-${word}` });
    const [boat, house] = await Promise.all([
      say('st-22-boat', 'I want a boat'),
      say('st-22-house', 'I want a house'),
    ]);
    expect([boat, house]).toEqual(['A boat\n\n1. Sails?', 'A house\n\n1. Floors?']);
    expect(await say('st-22-house', 'Two')).toContain('A house with two floors');
    expect(await say('st-22-boat', 'Yes')).toContain('A boat with sails');
    model.done();
  });

  it('hands the goals over to the next agent', async () => {
    const planner = scriptedModel(['I start on Monday.']);
    await serve(new ChatAgent({ address: 'planner@fame.fabric', model: planner }));
    const model = scriptedModel([
      asks('A site', '?'),
      confirms('A site'),
      hands('Build it', 'Pages', 'Prices'),
    ]);
    await serve(
      new RefineAgent({
        models: { default: model },
        handoffTo: { agent: 'planner@fame.fabric', with: ['goals'] },
      }),
    );
    const { answers } = await talk('refine@fame.fabric', ['a site', 'pages', 'yes']);
    expect(answers[2]).toBe('Build it\n\n- Pages\n- Prices\n\nI start on Monday.');
    expect(planner.requests[0]!.messages.at(-1)!.content).toBe('Build it\n- Pages\n- Prices');
  });
});

describe('fame team run', () => {
  const EXAMPLE = join(ROOT, 'agents/examples/support-team/team.yaml');
  const start = (dataDir: string): Proc =>
    startNode(fameArgs('team', 'run', EXAMPLE), {
      name: 'team',
      env: { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: dataDir },
    });

  it('serves the team, and continues its conversations after a kill', async () => {
    const dataDir = temporaryDirectory();
    const first = start(dataDir);
    await first.waitFor(/support@fame\.fabric is served through \S+ \(model: offline\)/);
    const say = (user_message: string) =>
      client.call(
        'support@fame.fabric',
        'run_turn',
        { conversation_id: 'kept', user_message },
        { timeoutMs: 10_000 },
      );
    await client.call('support@fame.fabric', 'start_task', { id: 'kept' });
    expect(await say('Where is my order 1042?')).toMatch(/on its way/);
    first.child.kill('SIGKILL');
    await first.exited;
    const second = start(dataDir);
    await second.waitFor(/is served/);
    expect(await say('Thank you, that was great!')).toBe('You are welcome!');
    const history = (await client.call('support@fame.fabric', 'get_history', {
      conversation_id: 'kept',
    })) as {
      role: string;
      content: string;
    }[];
    expect(history.filter((message) => message.role === 'user').map((message) => message.content)).toEqual([
      'Where is my order 1042?',
      'Thank you, that was great!',
    ]);
    expect(await second.stop()).toMatchObject({ code: 0 });
  });
});

describe('one client for all', () => {
  it('FB-10 drives a chat agent, a team and a refining dialogue alike', async () => {
    const forever = (script: ScriptReply): ScriptReply => ({ ...script, times: Number.POSITIVE_INFINITY });
    await serve(
      new ChatAgent({ address: 'plain@fame.fabric', model: scriptedModel([forever(reply('Hi!'))]) }),
    );
    await serveTeam(
      { address: 'team@fame.fabric', agents: { a: { system_directives: 'A.' } } },
      scriptedModel([forever(reply('Hi!'))]),
    );
    const asking = callTools({
      name: 'refine_requirements',
      arguments: { reformulated_goal: 'Hi', questions: ['?'] },
    });
    await serve(new RefineAgent({ models: { default: scriptedModel([forever(asking)]) } }));
    for (const address of ['plain@fame.fabric', 'team@fame.fabric', 'refine@fame.fabric']) {
      const { id, task, answers } = await talk(address, ['Hello', 'And again', 'Bye']);
      expect(task.id).toBe(id);
      expect(answers).toHaveLength(3);
      for (const answer of answers) expect(answer).toMatch(/^Hi/);
      await end(address, id);
      await end(address, id);
      const late = client.call(address, 'run_turn', { conversation_id: id, user_message: 'x' });
      await expect(late).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    }
  });
});
