import { hash } from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { ModelRequest } from '../../model/model.ts';
import { parseCall } from '../../model/stream/parse-arguments.ts';
import { noUsage } from '../../model/usage.ts';
import { RefineAgent } from '../../refine/refine-agent.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import type { JournalEvent } from '../../store/store.ts';
import { loadTeam } from '../../team/load-team.ts';
import { TeamAgent } from '../../team/team-agent.ts';
import { TeamTurns } from '../../team/team-turns.ts';
import { surviveCrashes } from '../../testing/crash-anywhere.ts';
import { type ServedChat, servedChat } from '../../testing/served-chat.ts';
import { callTools, failing, gate, type Scripted, type ScriptedModel, scriptedModel } from '../../testing.ts';
import { tool } from '../../tools/tool.ts';
import { ToolSet } from '../../tools/tool-set.ts';
import { ChatTurns } from '../../turn/chat-turns.ts';
import type { TurnRunner } from '../../turn/turn.ts';
import { ChatAgent, type ChatAgentOptions } from '../chat-agent.ts';
import { ConversationHost } from '../host.ts';
import type { PromptReport } from './prompt-replay.ts';

const served: ServedChat[] = [];
afterEach(async () => {
  for (const one of served.splice(0)) await one.close();
});
const serve = async (
  agent: ChatAgent | TeamAgent | RefineAgent,
  clock?: ManualClock,
): Promise<ServedChat> => {
  const one = await servedChat(agent, { clock });
  served.push(one);
  return one;
};
const chat = (options: Partial<ChatAgentOptions>): Promise<ServedChat> =>
  serve(new ChatAgent({ systemPrompt: 'Be brief.', ...options }));
const promptOf = ({ call }: ServedChat, turn_id: string, step: number, conversation_id = 'c') =>
  call<PromptReport>('get_prompt', { conversation_id, turn_id, step });
const digestOf = (messages: unknown): string => hash('sha256', JSON.stringify(messages));
/** Expects the prompt of each request, given the turn and the step that it was sent in. */
async function expectPrompts(
  one: ServedChat,
  model: ScriptedModel,
  places: [string, number][],
): Promise<void> {
  const { requests } = model;
  expect(requests).toHaveLength(places.length);
  for (const [i, [turnId, step]] of places.entries()) {
    const { messages } = requests[i]!;
    expect(await promptOf(one, turnId, step)).toEqual({
      messages,
      digest: digestOf(messages),
      verified: true,
    });
  }
  expect(model.requests).toHaveLength(places.length);
}

const look = (execute: () => string = () => 'seen') =>
  new ToolSet([tool({ name: 'look', description: 'x', parameters: z.object({}), execute })]);
const looks = (text = '') =>
  callTools(
    [
      { name: 'look', arguments: {} },
      { name: 'look', arguments: {} },
    ],
    { text },
  );

/** A reply of the refining dialogue with a question. */
const asks = callTools({
  name: 'refine_requirements',
  arguments: { reformulated_goal: 'A site', questions: ['For whom?'] },
});

/** A store with this journal of the conversation `c`. */
async function restored([started, ...events]: readonly JournalEvent[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  await store.create({
    id: 'c',
    agent: 'crash@fame.fabric',
    startCallId: 's',
    historyTurns: 10,
    totals: {},
    started: started!,
  });
  const { fence } = (await store.acquire('c', 1))!;
  await store.append({ conversationId: 'c', fence, after: 1, events, leaseMs: 0 });
  return store;
}

describe('the prompt of a step', () => {
  test('is that of the request, for every step of every turn, and runs nothing', async () => {
    const execute = vi.fn(() => 'seen');
    const model = scriptedModel([looks('Looking.'), looks(), 'Found.', 'Again.', looks(), 'Last.']);
    const one = await chat({ model, tools: look(execute) });
    await one.start({
      id: 'c',
      messages: [{ role: 'assistant', content: 'Welcome!' }],
      max_history_length: 2,
    });
    for (const message of ['one', 'two', 'three']) await one.say('c', message);
    expect(execute).toHaveBeenCalledTimes(6);
    await expectPrompts(one, model, [
      ['one', 1],
      ['one', 2],
      ['one', 3],
      ['two', 1],
      ['three', 1],
      ['three', 2],
    ]);
    expect(execute).toHaveBeenCalledTimes(6);
  });

  test('is rebuilt without a change of the record or its lease', async () => {
    const store = new MemoryStore();
    const one = await chat({ model: scriptedModel([looks(), 'Found.']), tools: look(), store });
    await one.start({ id: 'c' });
    await one.say('c', 'one');
    const before = await store.record('c');
    await promptOf(one, 'one', 2);
    expect(await store.record('c')).toEqual(before);
    expect(await store.peek('c')).toMatchObject({ epoch: 1 });
  });

  test('is available for a failed turn, and for a call that failed', async () => {
    const replies: Scripted[] = ['Hi.', looks(), failing(new FabricError('MODEL_REFUSED', 'no')), 'Well.'];
    const model = scriptedModel(replies);
    const one = await chat({ model, tools: look() });
    await one.start({ id: 'c' });
    await one.say('c', 'one');
    await expect(one.say('c', 'two')).rejects.toMatchObject({ code: 'MODEL_REFUSED' });
    await one.say('c', 'three');
    await expectPrompts(one, model, [
      ['one', 1],
      ['two', 1],
      ['two', 2],
      ['three', 1],
    ]);
  });

  test('is available for an open turn, and for one that waited for it', async () => {
    const hold = gate();
    const execute = vi.fn(() => 'seen');
    const model = scriptedModel([looks(), [hold, 'Found.'], 'Yes.']);
    const one = await chat({ model, tools: look(execute) });
    await one.start({ id: 'c' });
    const first = one.say('c', 'one');
    await hold.reached;
    const second = one.say('c', 'two');
    await expectPrompts(one, model, [
      ['one', 1],
      ['one', 2],
    ]);
    await vi.waitFor(() => expect(promptOf(one, 'two', 1)).rejects.toMatchObject({ details: { steps: 0 } }));
    hold.open();
    await Promise.all([first, second]);
    await expectPrompts(one, model, [
      ['one', 1],
      ['one', 2],
      ['two', 1],
    ]);
    expect(execute).toHaveBeenCalledTimes(2);
  });

  test('is available after a restart, and for a turn that an earlier process began', async () => {
    for (let crashAt = 2; crashAt <= 9; crashAt++) {
      const requests: ModelRequest[] = [];
      const answer = (request: ModelRequest) => {
        requests.push(request);
        return request.messages.at(-1)!.role === 'tool' ? 'Found.' : looks('Looking.');
      };
      const runner = () => new ChatTurns({ model: scriptedModel([answer, answer, answer]), tools: look() });
      const { journal } = await surviveCrashes({
        runner,
        userMessage: 'one',
        crashesAt: [crashAt],
        isDurable: true,
      });
      const store = await restored(journal);
      const host = new ConversationHost({ runner: runner(), store, agent: 'crash@fame.fabric' });
      const { signal } = new AbortController();
      for (const step of [1, 2]) {
        const { messages, digest, verified } = await host.reads.prompt('c', 't', step, signal);
        expect({
          crashAt,
          step,
          verified,
          known: requests.map(({ messages: of }) => digestOf(of)),
        }).toMatchObject({
          verified: true,
          known: expect.arrayContaining([digest]),
        });
        expect(messages).toHaveLength(step === 1 ? 2 : 5);
      }
      await host.close();
    }
  });

  test('is available while a call waits for approval, and asks for no approval again', async () => {
    const execute = vi.fn(() => 'paid');
    const parameters = z.object({});
    const pay = tool({ name: 'pay', description: 'x', parameters, approval: 'always', execute });
    const calls = callTools([
      { name: 'pay', id: 'yes', arguments: {} },
      { name: 'pay', id: 'no', arguments: {} },
    ]);
    const model = scriptedModel([calls, 'Done.']);
    const one = await chat({ model, tools: new ToolSet([pay]) });
    await one.start({ id: 'c' });
    const done = one.say('c', 'one');
    type Report = { approvals?: { call_id: string }[] };
    const turn = { conversation_id: 'c', turn_id: 'one' };
    const open = await vi.waitFor(async () => {
      const { approvals = [] } = await one.call<Report>('get_turn', turn);
      expect(approvals).toHaveLength(2);
      return approvals;
    });
    await expectPrompts(one, model, [['one', 1]]);
    for (const [i, { call_id }] of open.entries())
      await one.call('answer_approval', { conversation_id: 'c', call_id, approve: i === 0 });
    expect(await done).toBe('Done.');
    await expectPrompts(one, model, [
      ['one', 1],
      ['one', 2],
    ]);
    expect(execute).toHaveBeenCalledTimes(1);
  });

  test('is available for a fork, and contains the messages of the fork', async () => {
    const model = scriptedModel(['A', 'B', 'X']);
    const one = await chat({ model });
    await one.start({ id: 'c' });
    for (const message of ['a', 'b']) await one.say('c', message);
    await one.call('fork', { conversation_id: 'c', at: 'a', id: 'fork' });
    await one.say('fork', 'x');
    const { messages } = model.requests[2]!;
    expect(await promptOf(one, 'x', 1, 'fork')).toEqual({
      messages,
      digest: digestOf(messages),
      verified: true,
    });
    expect(messages.map(({ content }) => content)).toEqual(['Be brief.', 'a', 'A', 'x']);
  });

  test('leaves out the oldest messages if it does not fit one envelope', async () => {
    const model = scriptedModel(['A', 'B', 'C', 'D']);
    const one = await chat({ model });
    await one.start({ id: 'c' });
    const long = (mark: string): string => mark.repeat(60_000);
    for (const mark of ['a', 'b', 'c', 'd']) {
      const params = { conversation_id: 'c', turn_id: mark, user_message: long(mark) };
      await one.call('run_turn', params);
    }
    const { messages, ...report } = await promptOf(one, 'd', 1);
    expect(report).toEqual({ digest: digestOf(model.requests[3]!.messages), verified: true, left_out: 1 });
    expect(messages!.map(({ content }) => content?.slice(0, 9))).toEqual([
      'Be brief.',
      'A',
      'bbbbbbbbb',
      'B',
      'ccccccccc',
      'C',
      'ddddddddd',
    ]);
  });
});

describe('the prompt of a team', () => {
  /** An agent that routes a topic to another agent. */
  const switchboard = (topic: string, agent: string) => ({
    functions: [{ name: 'route', parameters: [{ name: 'topic', type: 'string' }] }],
    function_call: { name: 'route' },
    state_map: { function_name: 'route', argument_name: 'topic', values_map: { [topic]: { agent } } },
  });

  test('is that of each agent, with handoffs and functions', async () => {
    const stock = vi.fn(() => ({ left: 3 }));
    const answer = (request: ModelRequest) => {
      if (request.tools?.[0]?.function.name === 'route')
        return callTools({ name: 'route', arguments: { topic: 'shop' } });
      return request.messages.at(-1)!.role === 'tool' && request.messages.at(-1)!.content === '{"left":3}'
        ? 'Three.'
        : callTools({ name: 'stock', arguments: {} }, { text: 'Let me see.' });
    };
    const agents = {
      switchboard: switchboard('shop', 'shop'),
      shop: { system_directives: 'Shop.', functions: [{ name: 'stock' }] },
    };
    const model = scriptedModel(Array.from({ length: 6 }, () => answer));
    const team = await loadTeam(
      { start: 'switchboard', agents },
      { models: { default: model }, abilities: [{ stock }] },
    );
    const one = await serve(new TeamAgent({ team }));
    await one.start({ id: 'c' });
    for (const message of ['one', 'two']) await one.say('c', message);
    await expectPrompts(one, model, [
      ['one', 1],
      ['one', 2],
      ['one', 3],
      ['two', 1],
      ['two', 2],
      ['two', 3],
    ]);
    expect(stock).toHaveBeenCalledTimes(2);
  });

  test('makes no call of another agent', async () => {
    const remote = vi.fn(async function* () {
      yield { type: 'done' as const, text: 'Far away.' };
    });
    const agents = { switchboard: switchboard('far', 'far@fame.fabric') };
    const routes = callTools({ name: 'route', arguments: { topic: 'far' } });
    const store = new MemoryStore();
    const team = await loadTeam({ start: 'switchboard', agents }, { models: { default: scriptedModel([]) } });
    // The team of this journal asked twice; now its first reply leads to another node.
    const asksTwice: TurnRunner = {
      modelName: 'twice',
      async run({ ask, makeCall, messages }) {
        const model = scriptedModel([routes, 'Done.']);
        const { message } = await ask(model, { messages });
        const call = parseCall(message.tool_calls![0]!, 0);
        await makeCall({ call, willRun: true, execute: async () => ({ ok: true, content: 'routed' }) });
        await ask(model, { messages });
        return { usage: noUsage(), model: 'twice' };
      },
    };
    const before = await chat({ turns: asksTwice, store });
    await before.start({ id: 'c' });
    await before.say('c', 'one');
    await before.close();
    const one = await chat({ turns: new TeamTurns(team, { remote }), store });
    expect(await promptOf(one, 'one', 2)).toMatchObject({ messages: null, verified: false });
    expect(remote).not.toHaveBeenCalled();
  });
});

test('the prompt of a refining dialogue is that of each attempt', async () => {
  const confirms = callTools({
    name: 'request_confirmation',
    arguments: { reformulated_goal: 'A site', question: 'Right?' },
  });
  const model = scriptedModel(['Hm.', asks, confirms]);
  const one = await serve(new RefineAgent({ models: { default: model, smart: model } }));
  await one.start({ id: 'c' });
  for (const message of ['I need a site', 'For me']) await one.say('c', message);
  await expectPrompts(one, model, [
    ['I need a site', 1],
    ['I need a site', 2],
    ['For me', 1],
  ]);
});

describe('a prompt with a date', () => {
  const DAY = 86_400_000;
  const at = (day: number): ManualClock => {
    const clock = new ManualClock();
    clock.stepWall(Date.UTC(2026, 0, day, 12) - clock.now());
    return clock;
  };

  test('of a refining dialogue has the date of its turn', async () => {
    const store = new MemoryStore();
    const model = scriptedModel([asks]);
    const agent = () => new RefineAgent({ models: { default: model, smart: model }, store });
    const first = await serve(agent(), at(1));
    await first.start({ id: 'c' });
    await first.say('c', 'I need a site');
    await first.close();
    const second = await serve(agent(), at(3));
    const { messages, verified } = await promptOf(second, 'I need a site', 1);
    expect(messages![0]!.content).toContain('Today is 2026-01-01.');
    expect(verified).toBe(true);
  });

  test('of a team has the date of its turn, also when the turn is resumed on another day', async () => {
    const hold = gate();
    const clock = at(1);
    const store = new MemoryStore({ clock });
    const model = scriptedModel([[hold], 'Late.']);
    const agents = { a: { system_directives: 'Today is %{today}.' } };
    const team = await loadTeam({ start: 'a', agents }, { models: { default: model } });
    const agent = (of: MemoryStore) => new TeamAgent({ team, store: of, turnTimeoutMs: 9 * DAY });
    const first = await serve(agent(store), clock);
    await first.start({ id: 'c' });
    void first.say('c', 'one').catch(() => undefined);
    await hold.reached;
    await first.close();
    clock.stepWall(DAY);
    const second = await serve(agent(new MemoryStore({ clock, sharedWith: store })), clock);
    expect(await second.say('c', 'one')).toBe('Late.');
    expect(model.requests.map(({ messages }) => messages[0]!.content)).toEqual([
      'Today is 2026-01-01.',
      'Today is 2026-01-01.',
    ]);
    expect(await promptOf(second, 'one', 1)).toMatchObject({ verified: true });
  });
});

describe('an agent that has changed since', () => {
  const changed = async (turns: TurnRunner): Promise<ServedChat> => {
    const store = new MemoryStore();
    const first = await chat({ model: scriptedModel([looks(), 'Found.']), tools: look(), store });
    await first.start({ id: 'c' });
    await first.say('c', 'one');
    await first.close();
    return chat({ turns, store });
  };

  test('has messages that are not verified', async () => {
    const runner = new ChatTurns({ model: scriptedModel([]), tools: look() });
    const one = await changed({
      modelName: 'm',
      run: (turn) =>
        runner.run({ ...turn, messages: [{ role: 'system', content: 'Other.' }, ...turn.messages.slice(1)] }),
    });
    const { messages, verified } = await promptOf(one, 'one', 2);
    expect(messages!.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool', 'tool']);
    expect(verified).toBe(false);
  });

  test.each<[string, TurnRunner['run']]>([
    ['ends before that step', async () => ({ usage: noUsage(), model: 'm' })],
    ['fails', () => Promise.reject(new Error('broken'))],
    [
      'throws',
      () => {
        throw new Error('broken');
      },
    ],
    [
      'makes a call that is not in the record',
      async ({ ask, makeCall, messages }) => {
        await ask(scriptedModel([]), { messages });
        await makeCall({
          call: { ok: true, id: 'new', index: 0, name: 'new', args: {}, rawArguments: '{}' } as never,
          willRun: true,
          execute: () => expect.unreachable('executed'),
        });
        return { usage: noUsage(), model: 'm' };
      },
    ],
    [
      'asks more after an error',
      async ({ ask, messages, assertLive }) => {
        for (let i = 0; i < 3; i++)
          await ask(scriptedModel([]), { messages: messages.slice(0, 1) }).catch(() => {});
        assertLive();
        return expect.unreachable('live');
      },
    ],
  ])('has no messages, or other ones, if it %s', async (_, run) => {
    const one = await changed({ modelName: 'm', run });
    const { messages, digest, verified } = await promptOf(one, 'one', 2);
    expect({ verified, known: messages === null || digestOf(messages) !== digest }).toEqual({
      verified: false,
      known: true,
    });
  });

  test('does not hold a caller that gives up', async () => {
    const hold = Promise.withResolvers<never>();
    const store = new MemoryStore();
    const first = await chat({ model: scriptedModel(['Hi.']), store });
    await first.start({ id: 'c' });
    await first.say('c', 'one');
    await first.close();
    let isStopped = false;
    const runner: TurnRunner = {
      modelName: 'm',
      run: ({ signal }) => {
        signal.addEventListener('abort', () => {
          isStopped = true;
        });
        return hold.promise;
      },
    };
    const host = new ConversationHost({ runner, store, agent: 'chat@fame.fabric' });
    const controller = new AbortController();
    const prompt = host.reads.prompt('c', 'one', 1, controller.signal);
    controller.abort(new FabricError('CALL_CANCELLED', 'gone'));
    await expect(prompt).rejects.toMatchObject({ code: 'CALL_CANCELLED' });
    expect(isStopped).toBe(true);
    await host.close();
  });
});

test('requests for unknown or invalid steps, turns and conversations are refused', async () => {
  const one = await chat({ model: scriptedModel([looks(), 'Found.']), tools: look() });
  await one.start({ id: 'c' });
  await one.say('c', 'one');
  await expect(promptOf(one, 'one', 3)).rejects.toMatchObject({
    code: 'PARAMS_INVALID',
    message: 'step: The turn has 2 steps, and no step 3.',
    details: { steps: 2 },
  });
  for (const step of [0, -1, 1.5, '1', null]) {
    await expect(promptOf(one, 'one', step as number)).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringMatching(/^step: /),
    });
  }
  await expect(promptOf(one, 'x', 1)).rejects.toMatchObject({ code: 'TURN_UNKNOWN' });
  await expect(promptOf(one, 'one', 1, 'x')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  await expect(promptOf(one, '\ud800', 1)).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
});
