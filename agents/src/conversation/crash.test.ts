// Crashes at each event of a turn. The text of a tool cannot be generated again, so a resumed turn takes it from the journal.
import { FabricError } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { parseCall } from '../model/stream/parse-arguments.ts';
import { noUsage } from '../model/usage.ts';
import { RefineTurns } from '../refine/refine-turns.ts';
import { type Survived, surviveCrashes } from '../testing/crash-anywhere.ts';
import { callTools, failing, reply } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import type { TurnContext } from '../turn/turn.ts';

const forever = Number.POSITIVE_INFINITY;
const count = (text: string, part: string): number => text.split(part).length - 1;
const of = ({ journal }: Survived, kind: string) => journal.filter((event) => event.kind === kind);

describe('a turn whose tools emit text', () => {
  const talking = (name: string, runs: string[], more: object = {}) =>
    tool({
      name,
      description: 'x',
      parameters: z.object({}),
      execute: async (_, { emit }) => {
        runs.push(name);
        emit(`<${name}>`);
        await Promise.resolve();
        emit(`</${name}>`);
        return `${name} done`;
      },
      ...more,
    });
  const model = (): ScriptedModel =>
    scriptedModel([
      {
        ...callTools(
          ['peek', 'look', 'pay'].map((name) => ({ name, arguments: {} })),
          { text: 'Three things to do.', chunkChars: 8 },
        ),
        when: ({ messages }) => messages.at(-1)!.role === 'user',
        times: forever,
      },
      {
        ...reply('All done.', { chunkChars: 5 }),
        when: ({ messages }) => messages.at(-1)!.role === 'tool',
        times: forever,
      },
    ]);

  const live = async (crashesAt: readonly number[], isDurable: boolean) => {
    const runs: string[] = [];
    const models: ScriptedModel[] = [];
    const survived = await surviveCrashes({
      runner: () => {
        models.push(model());
        const tools = new ToolSet([
          talking('peek', runs, { eager: true }),
          talking('look', runs),
          talking('pay', runs, { idempotent: false }),
        ]);
        return new ChatTurns({ model: models.at(-1)!, tools });
      },
      userMessage: 'Please.',
      crashesAt,
      isDurable,
    });
    for (const one of models) one.assertValid();
    return { ...survived, runs };
  };

  for (const isDurable of [false, true]) {
    test(`loses and repeats no text after a crash at any event, ${isDurable ? 'just' : 'not yet'} written`, async () => {
      const whole = await live([], isDurable);
      expect(whole.recorded).toContain('</look>');
      for (let death = 1; death < whole.journal.length; death++) {
        for (const crashesAt of [[death], [death, 2], [death, 3], [death, 5], [death, 7]]) {
          const survived = await live(crashesAt, isDurable);
          const where = `crashes at ${crashesAt.join(', ')}`;
          const { recorded, streamed } = survived;
          expect(streamed, where).toBe(recorded);
          expect([count(recorded, '<look>'), count(recorded, '</look>')], where).toEqual([1, 1]);
          expect(recorded.startsWith('Three things to do.') || recorded.startsWith('<peek>'), where).toBe(
            true,
          );
          expect(recorded.endsWith('\nAll done.'), where).toBe(true);
          const paid = of(survived, 'tool_finished').find(({ body }) => body.name === 'pay')!;
          // An interrupted call may have been cut short, but the text that it emitted stays.
          const said = paid.body.ok ? 1 : Math.min(1, survived.runs.filter((name) => name === 'pay').length);
          expect(count(recorded, '<pay>'), where).toBeLessThanOrEqual(said);
          if (paid.body.ok) expect(count(recorded, '</pay>'), where).toBe(1);
          expect(survived.runs.filter((name) => name === 'pay').length, where).toBeLessThanOrEqual(1);
          expect(of(survived, 'tool_finished'), where).toHaveLength(3);
          expect(of(survived, 'model_replied'), where).toHaveLength(2);
        }
      }
    }, 90_000);
  }
});

test('a turn whose tools need approval loses nothing after a crash at any event, and pays once at most', async () => {
  const live = async (crashesAt: readonly number[], isDurable: boolean) => {
    const runs: string[] = [];
    const named = (name: string, more: object = {}) =>
      tool({
        name,
        description: 'x',
        parameters: z.object({}),
        approval: 'always',
        execute: (_, { emit }) => {
          runs.push(name);
          emit(`<${name}>`);
          return `${name} done`;
        },
        ...more,
      });
    const survived = await surviveCrashes({
      runner: () => {
        const model = scriptedModel([
          {
            ...callTools(['look', 'pay'].map((name) => ({ name, arguments: {} }))),
            when: ({ messages }) => messages.at(-1)!.role === 'user',
            times: forever,
          },
          { ...reply('All done.'), when: ({ messages }) => messages.at(-1)!.role === 'tool', times: forever },
        ]);
        return new ChatTurns({
          model,
          tools: new ToolSet([named('look', { eager: true }), named('pay', { idempotent: false })]),
        });
      },
      userMessage: 'Please.',
      crashesAt,
      isDurable,
    });
    return { ...survived, runs };
  };
  for (const isDurable of [false, true]) {
    const whole = await live([], isDurable);
    expect(of(whole, 'approval_requested')).toHaveLength(2);
    for (let death = 1; death < whole.journal.length; death++) {
      for (const crashesAt of [[death], [death, 2], [death, 3], [death, 5]]) {
        const survived = await live(crashesAt, isDurable);
        const where = `crashes at ${crashesAt.join(', ')}, ${isDurable}`;
        expect(survived.streamed, where).toBe(survived.recorded);
        expect(survived.recorded.endsWith('All done.'), where).toBe(true);
        expect(of(survived, 'approval_requested'), where).toHaveLength(2);
        expect(of(survived, 'approval_answered'), where).toHaveLength(2);
        expect(of(survived, 'tool_finished'), where).toHaveLength(2);
        expect(survived.runs.filter((name) => name === 'pay').length, where).toBeLessThanOrEqual(1);
        // No call starts before its answer.
        for (const { seq, body } of of(survived, 'tool_started')) {
          const answered = of(survived, 'approval_answered').find(
            (one) => one.body.call_id === body.call_id,
          )!;
          expect(answered.seq, where).toBeLessThan(seq);
        }
      }
    }
  }
}, 90_000);

test('a turn of the refining dialogue gives the same answer after a crash at any event, and asks nothing twice', async () => {
  const asks = callTools({
    name: 'refine_requirements',
    arguments: { reformulated_goal: 'A site', questions: ['For whom?'] },
  });
  const answer = 'A site\n\n1. For whom?';
  // A process whose first request is the second of the turn gets the second reply.
  const live = (crashesAt: readonly number[], repliedBefore = 0) =>
    surviveCrashes({
      runner: (process) => {
        const model = scriptedModel(process > 0 && repliedBefore > 0 ? [asks] : ['Hm.', asks]);
        return new RefineTurns({ models: { default: model, smart: model } });
      },
      userMessage: 'A site, please.',
      crashesAt,
      isDurable: true,
    });
  const whole = await live([]);
  expect([whole.streamed, whole.recorded]).toEqual([answer, answer]);
  for (let death = 1; death < whole.journal.length; death++) {
    const replies = whole.journal.slice(0, death + 1).filter(({ kind }) => kind === 'model_replied').length;
    const survived = await live([death], replies);
    expect([survived.streamed, survived.recorded], `death at ${death}`).toEqual([answer, answer]);
    expect(of(survived, 'model_replied'), `death at ${death}`).toHaveLength(2);
  }
});

test('a step that followed a result which the edited runner does not request is kept at the next crash', async () => {
  const payments: number[] = [];
  const model = scriptedModel(
    ['look', 'pay'].map((name) => ({
      ...callTools({ name, arguments: {} }),
      when: ({ messages }) => messages.at(-1)!.content === (name === 'look' ? 'Please.' : 'Now pay.'),
      times: forever,
    })),
  );
  const asked = async (turn: TurnContext, question?: string) => {
    const more = question === undefined ? [] : [{ role: 'user' as const, content: question }];
    const { message } = await turn.ask(model, { messages: [...turn.messages, ...more] });
    return parseCall(message.tool_calls![0]!, 0);
  };
  const runner = (process: number) => ({
    modelName: 'scripted',
    run: async (turn: TurnContext) => {
      const look = await asked(turn);
      if (process === 0) {
        const execute = async () => ({ ok: true, content: 'seen' });
        await turn.makeCall({ call: look, willRun: true, execute });
      }
      const pay = await asked(turn, 'Now pay.');
      await turn.makeCall({
        call: pay,
        willRun: true,
        isIdempotent: false,
        execute: async () => {
          payments.push(process);
          return { ok: true, content: 'paid' };
        },
      });
      await turn.emitText('Paid.', { from: 'runner' });
      const messages = [turn.messages.at(-1)!, { role: 'assistant' as const, content: 'Paid.' }];
      return { usage: noUsage(), model: 'scripted', messages };
    },
  });
  const live = (crashesAt: readonly number[]) =>
    surviveCrashes({ runner, userMessage: 'Please.', crashesAt, isDurable: true });
  const whole = await live([]);
  const look = whole.journal.findIndex(({ kind }) => kind === 'tool_finished');
  // The first process dies after the result of `look`; the next ones do not request it.
  for (let death = 1; death <= 7; death++) {
    payments.length = 0;
    const survived = await live([look, death]);
    const where = `second death at ${death}`;
    expect(survived.recorded, where).toBe('Paid.');
    expect(payments.length, where).toBeLessThanOrEqual(1);
    expect(of(survived, 'model_replied').length, where).toBe(2);
  }
});

test('a runner that asks a second model after a failure repeats no finished call after a crash', async () => {
  const payments: number[] = [];
  const runner = (process: number) => ({
    modelName: 'scripted',
    run: async (turn: TurnContext) => {
      const failure = failing(new FabricError('MODEL_UNAVAILABLE', 'gone'));
      const first = scriptedModel([{ ...failure, times: forever }]);
      const second = scriptedModel([{ ...callTools({ name: 'pay', arguments: {} }), times: forever }]);
      const request = { messages: turn.messages };
      const { message } = await turn.ask(first, request).catch(() => turn.ask(second, request));
      await turn.makeCall({
        call: parseCall(message.tool_calls![0]!, 0),
        willRun: true,
        isIdempotent: false,
        execute: async () => {
          payments.push(process);
          return { ok: true, content: 'paid' };
        },
      });
      await turn.emitText('Paid.', { from: 'runner' });
      const messages = [turn.messages.at(-1)!, { role: 'assistant' as const, content: 'Paid.' }];
      return { usage: noUsage(), model: 'scripted', messages };
    },
  });
  const live = (crashesAt: readonly number[]) =>
    surviveCrashes({ runner, userMessage: 'Please.', crashesAt, isDurable: true });
  const whole = await live([]);
  for (let death = 1; death < whole.journal.length; death++) {
    payments.length = 0;
    const survived = await live([death]);
    expect(survived.recorded, `death at ${death}`).toBe('Paid.');
    expect(payments.length, `death at ${death}`).toBeLessThanOrEqual(1);
  }
});
