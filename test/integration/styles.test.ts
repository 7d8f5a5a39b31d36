// One process serves the three styles of agents (a conversation, a refining dialogue, a team), and one client uses them all: as a
// stream, with cancels, in parallel, and from the prompt. The model is a fake server that records its requests.
import { callTools, type Gate, gate, type Scripted, stall } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fameArgs, startNode } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { lastUserText, openClient, type Stack, startStack, stopStack } from '../kit/stack.ts';
import { CTRL_D, ENTER, startInTerminal } from '../kit/terminal.ts';

let stack: Stack;
let client: Client;
let held: Gate & { open(): void } = gate();

/** The script of the last model call of a turn. */
const scriptFor = (text: string): Scripted => {
  if (text.includes('endless')) return ['It begins', stall()];
  if (text.includes('two halves')) return ['The first half, ', held, 'the second half.'];
  return `re: ${text}`;
};

beforeAll(async () => {
  stack = await startStack({
    model: {
      respond: (request) => {
        const text = lastUserText(request);
        const tools = new Set(request.tools?.map((tool) => tool.function.name));
        if (tools.has('get_current_weather') && text.includes('weather')) {
          if (request.messages.at(-1)?.role === 'tool') return 'It is warm.';
          const args = { to_user: 'One moment.', location: 'Paris' };
          return callTools({ name: 'get_current_weather', arguments: args }, { chunkChars: 4 });
        }
        if (tools.has('report_verdict'))
          return callTools({ name: 'report_verdict', arguments: { verdict: 'safe' } });
        if (tools.has('set_request_type')) {
          return callTools({ name: 'set_request_type', arguments: { request_type: 'order status' } });
        }
        if (!tools.has('refine_requirements')) return scriptFor(text);
        if (text.includes('endless')) return [stall()];
        const args = { reformulated_goal: `re: ${text}`, questions: ['What else?'] };
        return callTools({ name: 'refine_requirements', arguments: args });
      },
    },
    agent: { names: ['chat', 'refine', 'team'] },
  });
  client = await openClient(stack.sentinel.url);
});
afterAll(stopStack);

const STYLES = [
  { address: 'chat@fame.fabric', calls: 1 },
  { address: 'refine@fame.fabric', calls: 1 },
  { address: 'team@fame.fabric', calls: 3 },
] as const;

// The answers of the dialogue come from a call, so they have no text before its end.
test.each(['chat@fame.fabric', 'team@fame.fabric'])(
  'FB-10 %s shows the first piece of an answer before the model has sent its last',
  async (address) => {
    held = gate();
    const seen: string[] = [];
    for await (const event of client.conversation(address).stream('two halves')) {
      if (event.type !== 'text') continue;
      seen.push(event.text);
      if (seen.join('') === 'The first half, ') held.open();
    }
    expect(seen.join('')).toBe('The first half, the second half.');
  },
);

describe.each(STYLES)('$address', ({ address, calls }) => {
  test('FB-10 a cancelled turn closes the socket of the model, and the conversation continues', async () => {
    const conversation = client.conversation(address);
    const first = stack.model.count;
    const stop = new AbortController();
    const turn = conversation.ask('endless', { signal: stop.signal });
    turn.catch(() => {});
    const request = await stack.model.arrival(first + calls);
    const stoppedAt = performance.now();
    stop.abort(new Error('enough'));
    await expect(turn).rejects.toThrow('enough');
    expect(await request.ended).toBe('disconnected');
    expect(request.disconnectedAt! - stoppedAt).toBeLessThan(1_000);
    expect(await conversation.ask('still there?')).toContain('re: still there?');
    await conversation.end();
  });

  test('FB-10 keeps parallel conversations apart', async () => {
    const words = ['ant', 'bee', 'cat', 'dog', 'elk', 'fox', 'gnu', 'hen'];
    await Promise.all(
      words.map(async (word) => {
        const conversation = client.conversation(address);
        for (const turn of [1, 2, 3])
          expect(await conversation.ask(`${word} ${turn}`)).toContain(`re: ${word} ${turn}`);
        const history = await conversation.history();
        expect(history.filter(({ role }) => role === 'user').map(({ text }) => text)).toEqual([
          `${word} 1`,
          `${word} 2`,
          `${word} 3`,
        ]);
        await conversation.end();
      }),
    );
  });

  test('FB-10 answers `fame chat` with its address', async () => {
    const chat = startNode(fameArgs('chat', address, '--lines'), {
      name: 'fame chat',
      env: { FAME_DIRECT_ADMISSION_URL: stack.sentinel.url, FAME_DATA_DIR: temporaryDirectory() },
    });
    chat.write('one');
    chat.write('two');
    chat.child.stdin?.end();
    expect(await chat.exited).toEqual({ code: 0, signal: null });
    expect(chat.output).toMatch(/^A> re: one/m);
    expect(chat.output).toMatch(/^A> re: two/m);
  });
});

test('the prompt prints tool calls with their arguments between the texts', async () => {
  const terminal = startInTerminal(fameArgs('chat'), {
    name: 'fame chat',
    env: { FAME_DIRECT_ADMISSION_URL: stack.sentinel.url, FAME_DATA_DIR: temporaryDirectory() },
  });
  await terminal.waitFor(/Q> /);
  terminal.clear();
  terminal.type(`How is the weather?${ENTER}`);
  await terminal.waitFor(
    /A> One moment\.\r?\n[^\n]*\[get_current_weather Paris\]\r?\n[^\n]*It is warm\.\r?\n[^\n]*Q> /,
  );
  terminal.type(CTRL_D);
  expect((await terminal.exited).code).toBe(0);
  const { body } = stack.model.requests.findLast((request) => request.body.tools)!;
  expect(body.tools!.map((tool) => tool.function.name)).toEqual([
    'get_current_weather',
    'clock',
    'calculator',
  ]);
});

test('the agents of a process share one store, and an agent does not see the conversations of another', async () => {
  const conversation = client.conversation('chat@fame.fabric');
  await conversation.ask('hello');
  const ask = client.call('team@fame.fabric', 'run_turn', {
    conversation_id: conversation.id,
    user_message: 'hello',
  });
  await expect(ask).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
});
