// A7: an answer is displayed while the model generates it, and Ctrl-C closes the socket of the model. `fame chat` (in a terminal
// and in a pipe), the sentinel and the agent are processes. The model server is in this one and records when sockets close.
import { gate, stall } from '@fame-fabric/agents/testing';
import type { Conversation } from '@fame-fabric/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { listNodes, temporaryDirectory } from '../kit/sentinel.ts';
import { converse, lastUserText, openClient, type Stack, startStack, stopStack } from '../kit/stack.ts';
import { CTRL_C, CTRL_D, ENTER, startInTerminal } from '../kit/terminal.ts';

const CANCEL_MS = 250;
const ROUNDS = 20;
let stack: Stack;
let held = gate();

beforeAll(async () => {
  stack = await startStack({
    model: {
      respond: (request) => {
        const text = lastUserText(request);
        if (text.startsWith('endless')) return ['It begins', stall()];
        if (text === 'two halves') return ['The first half, ', held, 'the second half.'];
        return `re: ${text}`;
      },
    },
  });
});
afterAll(stopStack);

const chatOptions = () => ({
  name: 'fame chat',
  env: { FAME_DIRECT_ADMISSION_URL: stack.sentinel.url, FAME_DATA_DIR: temporaryDirectory() },
});

/** Time from `since` until the model saw its socket close, in ms. */
async function hungUpAfterMs(request: number, since: number): Promise<number> {
  const record = await stack.model.arrival(request);
  expect(await record.ended).toBe('disconnected');
  return record.disconnectedAt! - since;
}

function report(what: string, figures: readonly number[]): void {
  const sorted = figures.toSorted((a, b) => a - b).map((ms) => ms.toFixed(1));
  const median = sorted[Math.floor(sorted.length / 2)];
  console.info(
    `A7: ${what}, ${sorted.length} times: median ${median} ms, p99 ${sorted.at(-1)} ms (<= ${CANCEL_MS})`,
  );
  expect(Math.max(...figures)).toBeLessThanOrEqual(CANCEL_MS);
}

test('A7: the first piece of an answer is on the screen before the model has sent its last', async () => {
  held = gate();
  const chat = startNode(fameArgs('chat', '--lines'), chatOptions());
  const before = stack.model.count;
  chat.write('two halves');
  const request = await stack.model.arrival(before + 1);
  let isAnswered = false;
  void request.ended.then(() => {
    isAnswered = true;
  });
  await held.reached;
  await chat.waitFor(/^A> The first half, $/m);
  expect(isAnswered).toBe(false);
  held.open();
  await chat.waitFor(/^A> The first half, the second half\.$/m);
  chat.write('exit');
  expect(await chat.exited).toEqual({ code: 0, signal: null });
});

test('A7: a turn that the client cancels closes the socket of the model within 250 ms', async () => {
  const client = await openClient(stack.sentinel.url);
  const conversation: Conversation = await converse(client);
  const figures: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const stop = new AbortController();
    const before = stack.model.count;
    let stoppedAt = 0;
    const turn = (async () => {
      for await (const event of conversation.stream('endless', { signal: stop.signal })) {
        expect(event).toMatchObject({ type: 'text', text: 'It begins' });
        stoppedAt = performance.now();
        stop.abort(new Error('enough'));
      }
    })();
    await expect(turn).rejects.toThrow('enough');
    figures.push(await hungUpAfterMs(before + 1, stoppedAt));
  }
  report('cancel to closed socket', figures);
  expect(await conversation.ask('still there?')).toBe('re: still there?');
});

test('A7: Ctrl-C in a terminal does the same, and the conversation continues; Ctrl-D exits with 0', async () => {
  const terminal = startInTerminal(fameArgs('chat'), chatOptions());
  await terminal.waitFor(/Q> /);
  const figures: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    terminal.clear();
    const before = stack.model.count;
    terminal.type(`endless ${round}${ENTER}`);
    await terminal.waitFor(/A> It begins/);
    const pressedAt = performance.now();
    terminal.type(CTRL_C);
    figures.push(await hungUpAfterMs(before + 1, pressedAt));
    await terminal.waitFor(/Stopped\.[\s\S]*Q> /);
  }
  report('Ctrl-C to closed socket', figures);
  terminal.clear();
  terminal.type(`and now?${ENTER}`);
  await terminal.waitFor(/A> re: and now\?[\s\S]*Q> /);
  terminal.type(CTRL_D);
  expect((await terminal.exited).code).toBe(0);
});

test('A7: a second Ctrl-C exits with 130, and the client is removed from the sentinel', async () => {
  const terminal = startInTerminal(fameArgs('chat'), chatOptions());
  await terminal.waitFor(/Q> /);
  const before = stack.model.count;
  terminal.type(`endless and left${ENTER}`);
  await terminal.waitFor(/A> It begins/);
  terminal.type(CTRL_C);
  await hungUpAfterMs(before + 1, performance.now());
  await terminal.waitFor(/Stopped\.[\s\S]*Q> /);
  terminal.type(CTRL_C);
  expect((await terminal.exited).code).toBe(130);
  await eventually(async () => {
    const nodes = await listNodes(stack.sentinel);
    expect(nodes.flatMap(({ addresses }) => addresses)).toEqual(['chat@fame.fabric']);
  });
});

test('A7: SIGINT during an answer in a pipe closes the socket of the model too, and exits with 130', async () => {
  const chat = startNode(fameArgs('chat', '--lines'), chatOptions());
  const before = stack.model.count;
  chat.write('endless');
  await chat.waitFor(/^A> It begins$/m);
  const sentAt = performance.now();
  chat.child.kill('SIGINT');
  const tookMs = await hungUpAfterMs(before + 1, sentAt);
  console.info(`A7: SIGINT to closed socket: ${tookMs.toFixed(1)} ms (<= ${CANCEL_MS})`);
  expect(tookMs).toBeLessThanOrEqual(CANCEL_MS);
  expect(await chat.exited).toEqual({ code: 130, signal: null });
  expect(chat.output).not.toContain('    at ');
});
