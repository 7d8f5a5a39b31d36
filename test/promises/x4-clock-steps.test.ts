// X4: the clocks of a sentinel, an agent and a client are set while they run, or are wrong when they start. No node is
// disconnected, every call ends, and every conversation is kept. The monotonic clock stays correct, as it does when an operator
// or NTP sets the time. `sweeper.test.ts`, `pending.test.ts` and others step the clock of each part alone.
import { gate } from '@fame-fabric/agents/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { FakeWallClock, hasFaketime } from '../kit/faketime.ts';
import { fameArgs, type Proc, startNode } from '../kit/processes.ts';
import { RawNodes } from '../kit/raw-node.ts';
import {
  listNodes,
  metric,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';
import { converse, lastUserText, openClient, startAgent, startModel, stopStack } from '../kit/stack.ts';

const HOUR = 3_600;
const DAY = 24 * HOUR;
const STEPS = [
  ['+31 s', 31],
  ['+1 h', HOUR],
  ['-1 day', -DAY],
  ['+31 days', 31 * DAY],
] as const;

afterAll(stopStack);

/** Prints metadata of envelopes, heartbeats among them. */
const SHOWN = { FAME_SHOW_ENVELOPES: 'true' };

const startChat = (url: string, clock: FakeWallClock, dataDir = temporaryDirectory()): Proc =>
  startNode(fameArgs('chat', '--lines'), {
    name: 'chat',
    env: { FAME_DIRECT_ADMISSION_URL: url, FAME_DATA_DIR: dataDir, ...SHOWN, ...clock.env },
  });

const detached = (sentinel: OurSentinel): Promise<number> => metric(sentinel, 'fame_detached_total');

const heartbeats = ({ output }: Proc): number => output.match(/NodeHeartbeatAck/g)?.length ?? 0;

describe.skipIf(!hasFaketime())('X4: clock steps', () => {
  describe('while everything runs', () => {
    const clocks = { sentinel: new FakeWallClock(), agent: new FakeWallClock(), chat: new FakeWallClock() };
    const held = gate();
    let sentinel: OurSentinel;
    let agent: Proc;
    let chat: Proc;
    const nodes = new RawNodes(() => sentinel.url);

    beforeAll(async () => {
      const model = await startModel({
        respond: (request) => {
          const text = lastUserText(request);
          return text === 'wait' ? ['begun ', held, 'ended'] : `re: ${text}`;
        },
      });
      sentinel = await startOurSentinel({ env: clocks.sentinel.env });
      agent = await startAgent(sentinel.url, { model, env: { ...SHOWN, ...clocks.agent.env } });
      chat = startChat(sentinel.url, clocks.chat);
      chat.write('hello');
      await chat.waitFor(/re: hello/);
      chat.write('wait');
      await held.reached;
    });
    afterAll(() => nodes.closeAll());

    const stepAll = (seconds: number): void => {
      for (const clock of Object.values(clocks)) clock.step(seconds);
    };

    /** Steps all clocks, and waits until every deadline of a healthy connection has been checked since. */
    async function stepAndWait(...steps: number[]): Promise<void> {
      const paths = (await listNodes(sentinel)).map(({ path }) => path);
      const before = await detached(sentinel);
      const linked = [agent, chat].map((proc) => ({ proc, beats: heartbeats(proc) }));
      for (const seconds of steps) {
        const early = await nodes.open();
        stepAll(seconds);
        const late = await nodes.open();
        // The sentinel has swept twice by then.
        expect([(await early.closed).code, (await late.closed).code]).toEqual([4408, 4408]);
      }
      for (const { proc, beats } of linked)
        await eventually(() => expect(heartbeats(proc)).toBeGreaterThan(beats));
      expect((await listNodes(sentinel)).map(({ path }) => path)).toEqual(paths);
      expect(await detached(sentinel)).toBe(before);
    }

    test('X4: a forward step of 31 s, 1 h or 31 days loses no node', async () => {
      await stepAndWait(31, HOUR, 31 * DAY);
    });

    test('X4: a step back by a day loses no node, and a call of a client ends at its deadline', async () => {
      const mute = await nodes.attached();
      await mute.serve('mute@fame.fabric');
      const clock = new FakeWallClock();
      const call = startNode(fameArgs('call', 'mute@fame.fabric', 'work', '--timeout', '3s'), {
        name: 'call',
        env: { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: temporaryDirectory(), ...clock.env },
      });
      await mute.next((message) => message.frame?.payload?.method === 'work');
      clock.step(-DAY);
      expect((await call.exited).code).toBe(124);
      await stepAndWait(-DAY);
    });

    test('X4, c99: the turn that ran meanwhile ends, and the conversation continues', async () => {
      held.open();
      await chat.waitFor(/ended/);
      chat.write('again');
      await chat.waitFor(/re: again/);
      expect(agent.alive && sentinel.proc.alive).toBe(true);
    });
  });

  test.each(STEPS)(
    'X4: with each process %s off at its start, calls are answered',
    async (_name, seconds) => {
      const model = await startModel();
      const sentinel = await startOurSentinel({ env: new FakeWallClock(seconds).env });
      await startAgent(sentinel.url, { model });
      const other = await startOurSentinel();
      await startAgent(other.url, { model, env: new FakeWallClock(seconds).env });
      const chats = [
        startChat(sentinel.url, new FakeWallClock()),
        startChat(other.url, new FakeWallClock()),
        startChat(sentinel.url, new FakeWallClock(seconds)),
      ];
      for (const chat of chats) chat.write('hello');
      for (const chat of chats) await chat.waitFor(/re: hello/);
    },
  );

  test('X4: an agent whose clock is wrong at its start keeps every conversation', async () => {
    const model = await startModel();
    const sentinel = await startOurSentinel();
    const dataDir = temporaryDirectory();
    const clock = new FakeWallClock();
    const start = () => startAgent(sentinel.url, { model, dataDir, env: clock.env });
    let agent = await start();
    const client = await openClient(sentinel.url);
    const conversations = await Promise.all(Array.from({ length: 5 }, () => converse(client)));
    const askAll = async (text: string): Promise<void> => {
      for (const conversation of conversations) expect(await conversation.ask(text)).toBe(`re: ${text}`);
    };
    await askAll('now');
    for (const [name, seconds] of STEPS) {
      await agent.stop();
      clock.set(seconds);
      agent = await start();
      // A start sweeps the store at once.
      if (seconds > DAY) await agent.waitFor(/the clock is far ahead/);
      await askAll(name);
    }
  });
});
