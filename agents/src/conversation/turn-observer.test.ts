// The events that an observer of turns receives, and their order.
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { MemoryStore } from '../store/memory-store.ts';
import { NO_OBSERVER, type TurnObserver } from '../telemetry/turn-observer.ts';
import { allObservers } from '../telemetry/turn-observers.ts';
import { callTools, gate, scriptedModel } from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import { ConversationHost, type HostDeps } from './host.ts';

const hosts: ConversationHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

function hostOf(deps: Pick<HostDeps, 'runner' | 'store' | 'clock' | 'observer'>): ConversationHost {
  const host = new ConversationHost({ ...deps, agent: 'chat@fame.fabric' });
  hosts.push(host);
  return host;
}

/** Records each event as a short line. */
function recorder(name = ''): TurnObserver & { readonly seen: string[] } {
  const seen: string[] = [];
  const note = (line: string): void => void seen.push(`${name}${line}`);
  const run = <T>(work: () => T): T => work();
  return {
    seen,
    journalWritten: () => note('journal'),
    accepted({ id, agent, conversation, isResumed, recordedTrace }) {
      note(`accepted ${id} of ${conversation} at ${agent}${isResumed ? ', resumed' : ''}`);
      if (recordedTrace) note(`recorded ${recordedTrace.turn}`);
      return {
        trace: { turn: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` },
        run,
        started: () => note('started'),
        modelCalled(step, model) {
          note(`model ${step} ${model.name}`);
          return {
            run,
            firstToken: () => note('first token'),
            waiting: ({ reason }) => note(`waiting ${reason}`),
            replied: ({ finish, usage }) => note(`replied ${finish} ${usage?.total_tokens}`),
            failed: (error) => note(`model failed ${(error as Error).message}`),
          };
        },
        toolStarted({ name: tool }, args) {
          note(`tool ${tool} ${JSON.stringify(args)}`);
          return {
            run,
            finished: ({ ok, content }) => note(`tool finished ${ok} ${content}`),
            failed: () => note('tool failed'),
          };
        },
        ended: ({ state }, isReleased) => note(`ended ${isReleased ? 'released' : state}`),
      };
    },
  };
}

const add = tool({
  name: 'add',
  description: 'Adds two numbers.',
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: ({ a, b }) => a + b,
});
const start = (host: ConversationHost) =>
  host.start({
    id: 'c',
    callId: 'start',
    options: { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' },
  });
const withoutJournal = (seen: readonly string[]): string[] =>
  seen.filter((line) => !line.endsWith('journal'));

test('an observer receives the events of a turn with a tool in order', async () => {
  const observer = recorder();
  const model = scriptedModel([callTools([{ name: 'add', arguments: { a: 1, b: 2 } }]), 'It is 3.']);
  const host = hostOf({
    runner: new ChatTurns({ model, tools: new ToolSet([add]) }),
    store: new MemoryStore(),
    observer,
  });
  await start(host);
  const turn = await host.turn({ conversationId: 'c', userMessage: 'Add.', turnId: 't' });
  expect(await turn.outcome).toMatchObject({ state: 'completed', text: 'It is 3.' });
  expect(withoutJournal(observer.seen)).toEqual([
    'accepted t of c at chat@fame.fabric',
    'started',
    'model 1 scripted',
    'first token',
    'replied tool_calls 15',
    'tool add {"a":1,"b":2}',
    'tool finished true 3',
    'model 2 scripted',
    'first token',
    'replied stop 15',
    'ended completed',
  ]);
  // The acceptance, two model calls, a reply with calls, the tool, and the end.
  expect(observer.seen.filter((line) => line === 'journal').length).toBeGreaterThanOrEqual(6);
});

test('a resumed turn names the trace in which it began', async () => {
  const clock = new ManualClock();
  const first = new MemoryStore({ clock });
  const hold = gate();
  const crashing = hostOf({
    runner: new ChatTurns({ model: scriptedModel([[hold]]) }),
    store: first,
    clock,
    observer: recorder(),
  });
  await start(crashing);
  await crashing.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
  await hold.reached;
  hosts.pop();
  await first.close();
  clock.advance(60_000);
  const observer = recorder();
  const host = hostOf({
    runner: new ChatTurns({ model: scriptedModel(['Hello.']) }),
    store: new MemoryStore({ sharedWith: first, clock }),
    clock,
    observer,
  });
  await host.recover();
  const turn = await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' });
  await turn.outcome;
  expect(withoutJournal(observer.seen).slice(0, 3)).toEqual([
    'accepted t of c at chat@fame.fabric, resumed',
    `recorded 00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    'started',
  ]);
  expect(observer.seen.at(-1)).toBe('ended completed');
});

test('several observers receive each event, and one observer is not wrapped', async () => {
  const one = recorder('1 ');
  const two = recorder('2 ');
  const host = hostOf({
    runner: new ChatTurns({ model: scriptedModel(['Hello.']) }),
    store: new MemoryStore(),
    observer: allObservers([one, two]),
  });
  await start(host);
  await (await host.turn({ conversationId: 'c', userMessage: 'hi', turnId: 't' })).outcome;
  expect(one.seen.map((line) => line.slice(2))).toEqual(two.seen.map((line) => line.slice(2)));
  expect(one.seen).toContain('1 first token');
  expect(allObservers([])).toBe(NO_OBSERVER);
  expect(allObservers([one])).toBe(one);
});
