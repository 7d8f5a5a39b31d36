// The rows of the matrix: naylence's examples as calls with their results, the same for every combination of kinds.
import { isDeepStrictEqual } from 'node:util';
import type { Answer } from '../../kit/driven-client.ts';
import type { Proc } from '../../kit/processes.ts';
import type { RunningCell } from './cells.ts';
import { addressOf } from './fabric.ts';

interface Call {
  verb: string;
  targets: Readonly<Record<string, unknown>>;
  expected: unknown;
  /** Part of the result that is compared. @default the whole result */
  read?: (result: unknown) => unknown;
  /** The call may return other results first, because the effect arrives a little later. */
  isEventual?: boolean;
  /** Uses the client with the delivery profile `at-least-once`. */
  isAcknowledged?: boolean;
}

export interface Example {
  readonly name: string;
  run(cell: RunningCell): Promise<void>;
}

/** Time limit of a result that is eventual, in ms. */
const EVENTUALLY_MS = 20_000;
const RETRY_MS = 250;

async function check({ clients }: RunningCell, call: Call): Promise<void> {
  const client = call.isAcknowledged ? clients.persistent : clients.client;
  const deadline = Date.now() + EVENTUALLY_MS;
  for (;;) {
    const answer = await client.ask(call.verb, call.targets);
    if (matches(answer, call)) return;
    if (!call.isEventual || Date.now() > deadline) {
      throw new Error(`${call.verb}: ${JSON.stringify(answer.ok ? answer.result : answer.error)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

const matches = ({ ok, result }: Answer, { expected, read }: Call): boolean =>
  ok && isDeepStrictEqual(read ? read(result) : result, expected);

/** An example of one call. */
const example = (
  name: string,
  call: (cell: RunningCell) => Omit<Call, 'verb'> & { verb?: string },
): Example => ({
  name,
  run: (cell) => check(cell, { verb: name, ...call(cell) }),
});

/** Runs one cell at a time for each group of agents, because the example restarts them. */
const turns = new WeakMap<object, Promise<void>>();
async function alone(agents: object, run: () => Promise<void>): Promise<void> {
  const mine = (turns.get(agents) ?? Promise.resolve()).then(run);
  turns.set(
    agents,
    mine.catch(() => {}),
  );
  await mine;
}

async function restart({ agents }: RunningCell): Promise<void> {
  await agents.durable.proc.kill();
  await agents.durable.restart();
}

/**
 * Checks an agent that may have restarted. A sentinel of naylence can end the route of such an agent when it notices the end of the
 * earlier connection, seconds after the agent has attached again. The agent then starts once more.
 */
async function checkRestarted(cell: RunningCell, call: Call): Promise<void> {
  try {
    await check(cell, { ...call, isEventual: true });
  } catch (error) {
    if (cell.sentinel === 'fame') throw error;
    await restart(cell);
    await check(cell, { ...call, isEventual: true });
  }
}

async function untilExit(proc: Proc): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(proc.failure('did not crash')), EVENTUALLY_MS);
  await Promise.race([proc.exited, late.promise]).finally(() => clearTimeout(timer));
}

const copiesOf = (message: string, list: unknown): unknown[] =>
  (list as unknown[]).filter((each) => each === message);

export const EXAMPLES: readonly Example[] = [
  example('rpc', ({ agent }) => ({ targets: { math: addressOf('math', agent) }, expected: [7, 42] })),
  example('stream', ({ agent }) => ({
    targets: { math: addressOf('math', agent) },
    expected: [0, 1, 1, 2, 3, 5, 8, 13, 21, 34],
  })),
  example('capability', ({ agent }) => ({
    targets: { capabilities: ['fame.capability.agent', `fame.capability.math-${agent}`] },
    expected: 7,
  })),
  example('cancellable', ({ agent }) => ({
    targets: { work: addressOf('work', agent) },
    expected: { states: ['working', 'canceled'], hasProgress: true },
  })),
  example('status', ({ agent }) => ({
    targets: { work: addressOf('work', agent) },
    expected: { states: ['working', 'completed'], hasProgress: true },
  })),
  // The receiver has the kind of the client.
  example('push', ({ agent, client }) => ({
    targets: { receiver: addressOf('receiver', client), sender: addressOf('sender', agent) },
    expected: { notifications: ['notification 1', 'notification 2', 'notification 3'] },
  })),
  // The workers have the kind of the client.
  example('multi-agent', ({ agent, client }) => ({
    targets: {
      analysis: addressOf('analysis', agent),
      workers: [addressOf('summarizer', client), addressOf('sentiment', client)],
    },
    expected: { summary: 'The pictures are good.', sentiment: 'mixed' },
  })),
  example('conversation', ({ agent }) => ({
    targets: { chat: addressOf('chat', agent) },
    expected: ['one', 'one, then two'],
  })),
  {
    // The first acknowledgement is lost, so the client sends the message twice.
    name: 'at-least-once',
    async run(cell) {
      const inbox = addressOf('inbox', cell.agent);
      const message = `to be received once by ${cell.agent} from ${cell.client}`;
      const isAcknowledged = true;
      await check(cell, {
        verb: 'send',
        targets: { to: inbox, message },
        expected: { ok: true },
        isAcknowledged,
      });
      const read = (list: unknown): unknown => {
        const copies = copiesOf(message, list);
        // Agents of naylence receive a message again after its acknowledgement was lost.
        return cell.agent === 'fame' ? copies : [...new Set(copies)];
      };
      await check(cell, {
        verb: 'received',
        targets: { inbox },
        expected: [message],
        read,
        isEventual: true,
      });
    },
  },
  {
    name: 'crash recovery',
    run: (cell) =>
      alone(cell.agents.durable, async () => {
        const crashing = addressOf('crashing', cell.agent);
        const message = `crash ${cell.client}`;
        const read = (list: unknown): unknown => copiesOf(message, list);
        await checkRestarted(cell, { verb: 'handled', targets: { crashing }, expected: [], read });
        const { proc } = cell.agents.durable;
        const isAcknowledged = true;
        await check(cell, {
          verb: 'send',
          targets: { to: crashing, message },
          expected: { ok: true },
          isAcknowledged,
        });
        await untilExit(proc);
        await cell.agents.durable.restart();
        await checkRestarted(cell, { verb: 'handled', targets: { crashing }, expected: [message], read });
      }),
  },
  {
    name: 'state',
    run: (cell) =>
      alone(cell.agents.durable, async () => {
        const keeper = addressOf('keeper', cell.agent);
        const key = cell.client;
        const expected = 'kept';
        await checkRestarted(cell, { verb: 'store', targets: { keeper, key, value: 'kept' }, expected });
        await restart(cell);
        await checkRestarted(cell, { verb: 'retrieve', targets: { keeper, key }, expected });
      }),
  },
  example('pools', ({ agent, agents }) => ({
    targets: { pool: addressOf('pool', agent) },
    // Both members answer some of 20 calls. All calls to one member happen in 1 of 500,000 runs.
    expected: agents.pool.map(({ proc }) => proc.pid).sort((a, b) => a - b),
    read: (pids) => [...new Set(pids as number[])].sort((a, b) => a - b),
  })),
  // From the client at the main sentinel to an agent below another sentinel, which calls an agent at the main sentinel.
  example('biomes', ({ agent, client }) => ({
    verb: 'delegate',
    targets: { via: addressOf('biome', agent), to: addressOf('math', client) },
    expected: 42,
    isEventual: true,
  })),
  example('peers', ({ agent }) => ({
    verb: 'add',
    targets: { math: addressOf('peer', agent) },
    expected: 7,
    isEventual: true,
  })),
];
