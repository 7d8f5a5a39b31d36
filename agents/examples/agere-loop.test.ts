import { readFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openaiModel, standardTools, ToolSet, tool } from '@fame-fabric/agents';
import {
  type ControlledGate,
  callChunks,
  callTools,
  fakeOpenAI,
  gate,
  ScriptedModel,
} from '@fame-fabric/agents/testing';
import { Commander } from '@fame-fabric/agents/workflow';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { type Chat, round } from './agere-loop.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** A user who asks these questions and then leaves. */
function scriptedUser(...questions: string[]) {
  const written: string[] = [];
  const ask = vi.fn(async () => {
    written.push('|');
    return questions.shift() ?? 'exit';
  });
  return {
    written,
    ask,
    ui: { write: (text: string) => void written.push(stripVTControlCharacters(text)), ask },
  };
}

describe('the loop of the Agere tutorial', () => {
  it('answers, runs the tools of a round and asks for the next until the user leaves', async () => {
    const model = new ScriptedModel([
      callTools(
        [
          {
            name: 'get_current_weather',
            arguments: { to_user: 'I look at Paris.', location: 'Paris' },
            id: 'a',
          },
          {
            name: 'get_current_weather',
            arguments: { to_user: 'And at Beijing.', location: 'Beijing' },
            id: 'b',
          },
        ],
        { text: 'One moment. ', chunkChars: 3 },
      ),
      'It is 22 degrees in Paris and 10 in Beijing.',
      'You are welcome.',
    ]);
    const user = scriptedUser('Thanks!');
    const chat: Chat = {
      model,
      tools: new ToolSet(standardTools()),
      messages: [{ role: 'user', content: 'How is the weather in Paris and Beijing?' }],
      ui: user.ui,
    };
    expect(await new Commander().run(round(chat))).toBe('QUIT');
    model.done();
    expect(user.written.join('')).toBe(
      [
        '\nGPT:\nOne moment. I look at Paris.',
        '\nFunction call: get_current_weather(location=Paris); ID: a.\n',
        '\nAnd at Beijing.',
        '\nFunction call: get_current_weather(location=Beijing); ID: b.\n',
        '\n\n\nGPT:\nIt is 22 degrees in Paris and 10 in Beijing.\n\n',
        '|\nGPT:\nYou are welcome.\n\n|',
      ].join(''),
    );
    expect(chat.messages).toEqual([
      { role: 'user', content: 'How is the weather in Paris and Beijing?' },
      {
        role: 'assistant',
        content: 'One moment. ',
        tool_calls: [
          {
            id: 'a',
            type: 'function',
            function: {
              name: 'get_current_weather',
              arguments: '{"to_user":"I look at Paris.","location":"Paris"}',
            },
          },
          {
            id: 'b',
            type: 'function',
            function: {
              name: 'get_current_weather',
              arguments: '{"to_user":"And at Beijing.","location":"Beijing"}',
            },
          },
        ],
      },
      {
        role: 'tool',
        tool_call_id: 'a',
        content: '{"location":"Paris","temperature":"22","unit":"celsius"}',
      },
      {
        role: 'tool',
        tool_call_id: 'b',
        content: '{"location":"Beijing","temperature":"10","unit":"celsius"}',
      },
      { role: 'assistant', content: 'It is 22 degrees in Paris and 10 in Beijing.' },
      { role: 'user', content: 'Thanks!' },
      { role: 'assistant', content: 'You are welcome.' },
    ]);
  });

  it('does the same with a model server that splits its bytes', async () => {
    const server = await fakeOpenAI({
      framing: { splitBytes: 7, crlf: true, comments: true },
      replies: [
        callTools(
          [
            {
              name: 'get_current_weather',
              arguments: { to_user: 'Ich schaue nach: 北京 😀', location: 'Beijing' },
              id: 'a',
            },
            { name: 'get_current_weather', arguments: '{"location": "Par', id: 'b' },
          ],
          { chunkChars: 2 },
        ),
        callTools({ name: 'get_current_weather', arguments: { location: 'Paris' }, id: 'c' }),
        '10 and 22 degrees.',
      ],
    });
    const user = scriptedUser();
    const chat: Chat = {
      model: openaiModel({ model: 'fake', baseURL: server.url }),
      tools: new ToolSet(standardTools()),
      messages: [{ role: 'user', content: 'Weather?' }],
      ui: user.ui,
    };
    expect(await new Commander().run(round(chat))).toBe('QUIT');
    expect(user.written.join('')).toBe(
      [
        '\nGPT:\nIch schaue nach: 北京 😀',
        '\nFunction call: get_current_weather(location=Beijing); ID: a.\n',
        '\nFunction call: get_current_weather(); ID: b.\n',
        '\n\n\nGPT:\n',
        '\nFunction call: get_current_weather(location=Paris); ID: c.\n',
        '\n\n\nGPT:\n10 and 22 degrees.\n\n|',
      ].join(''),
    );
    const results = chat.messages.flatMap((one) => (one.role === 'tool' ? [one.content] : []));
    expect(results).toEqual([
      '{"location":"Beijing","temperature":"10","unit":"celsius"}',
      expect.stringContaining('"code":"invalid_json"'),
      '{"location":"Paris","temperature":"22","unit":"celsius"}',
    ]);
    server.done();
    await server.close();
  });

  it('AG-2 asks for the next round only after both branches have ended, whichever ends last', async () => {
    for (const last of ['text', 'tool']) {
      const text: ControlledGate = gate();
      const running = Promise.withResolvers<string>();
      const started = vi.fn();
      const slow = tool({
        name: 'slow',
        description: '',
        parameters: z.object({}),
        eager: true,
        toUser: true,
        execute: () => {
          started();
          return running.promise;
        },
      });
      const model = new ScriptedModel([
        [
          ...callChunks({ name: 'slow', arguments: { to_user: 'Working' }, id: 'a' }),
          text,
          ' … still writing',
        ],
        'Done.',
      ]);
      const user = scriptedUser();
      const chat: Chat = {
        model,
        tools: new ToolSet([slow]),
        messages: [{ role: 'user', content: 'Go' }],
        ui: user.ui,
      };
      const done = new Commander().run(round(chat));
      await text.reached;
      await vi.waitFor(() => expect(started).toHaveBeenCalled());
      if (last === 'text') running.resolve('ok');
      else text.open();
      await new Promise((next) => setImmediate(next));
      expect(model.count).toBe(1);
      expect(user.ask).not.toHaveBeenCalled();
      expect(user.written.slice(0, 2)).toEqual(['\nGPT:\n', 'Working']);
      running.resolve('ok');
      text.open();
      expect(await done).toBe('QUIT');
      expect(user.written).toEqual([
        '\nGPT:\n',
        'Working',
        '\nFunction call: slow(); ID: a.\n',
        ' … still writing',
        '\n\n',
        '\nGPT:\n',
        'Done.',
        '\n\n',
        '|',
      ]);
      model.done();
    }
  });

  it('AG-25 retains no node and no memory of 10,000 rounds', { timeout: 120_000 }, async () => {
    const ROUNDS = 10_000;
    const chunk = { choices: [{ index: 0, delta: { content: 'ok' }, finish_reason: 'stop' as const }] };
    const model = {
      name: 'short',
      async *stream() {
        yield chunk;
      },
    };
    let rounds = 0;
    const liveNodes: number[] = [];
    const heap: number[] = [];
    const commander = new Commander();
    const chat: Chat = {
      model,
      tools: new ToolSet(),
      messages: [],
      ui: {
        write: () => {},
        ask: async () => {
          rounds += 1;
          chat.messages.length = 0;
          if (rounds % 1_000 === 0) {
            await new Promise((next) => setImmediate(next));
            collectGarbage();
            liveNodes.push(commander.liveNodes);
            heap.push(process.memoryUsage().heapUsed);
          }
          return rounds < ROUNDS ? 'go on' : 'exit';
        },
      },
    };
    expect(await commander.run(round(chat))).toBe('QUIT');
    expect(rounds).toBe(ROUNDS);
    // Only the round that asks is live.
    expect(new Set(liveNodes)).toEqual(new Set([1]));
    expect(commander.liveNodes).toBe(0);
    expect(commander.root.children).toEqual([]);
    expect(heap.at(-1)! - heap[1]!).toBeLessThan(1_000_000);
  });

  it('has fewer than 40 lines without its imports', () => {
    const source = readFileSync(new URL('./agere-loop.ts', import.meta.url), 'utf8');
    const loop = source.slice(0, source.indexOf('if (isMain(import.meta))'));
    const own = loop.replace(/^import [^;]*;/gm, '').split('\n');
    expect(own.filter((line) => line !== '' && !/^\/[/*]/.test(line)).length).toBeLessThan(40);
  });
});
