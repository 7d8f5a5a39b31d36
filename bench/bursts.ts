// Bursts of large calls by our link through our sentinel, and the delay of a bystander: a small call to another agent meanwhile.
// The agent, the callers of the bursts and the bystander are processes of their own.
import { fileURLToPath } from 'node:url';
import { answerCommands, Child } from './child.ts';
import { OURS, start } from './contestants.ts';
import { percentile } from './median.ts';

/** Concurrent calls of each of several callers, with the sizes of their texts in bytes. */
interface Burst {
  readonly callers: number;
  readonly calls: number;
  readonly request: number;
  readonly answer: number;
}

export interface BurstFigures {
  readonly calls: number;
  readonly failed: number;
  /** 99th percentile of the bystander without load, in ms. */
  readonly aloneMs: number;
  readonly besideMs: number;
}

/** Goal 12b, and the other bursts of the same promise. */
const BURSTS: readonly Burst[] = [
  { callers: 1, calls: 256, request: 64_000, answer: 10 },
  { callers: 1, calls: 512, request: 64_000, answer: 10 },
  { callers: 1, calls: 1_000, request: 16_000, answer: 10 },
  { callers: 20, calls: 40, request: 10, answer: 150_000 },
];
const ALONE_MS = 1_500;

type BurstCommand = { cmd: 'ready' } | { cmd: 'begin' } | { cmd: 'end' } | ({ cmd: 'burst' } & Burst);

const here = fileURLToPath(import.meta.url);

/** Runs each burst `rounds` times. */
export async function measureBursts(rounds: number): Promise<BurstFigures> {
  const sentinel = await start(OURS);
  const children: Child<BurstCommand>[] = [];
  const startChild = async (role: string): Promise<Child<BurstCommand>> => {
    const child = new Child<BurstCommand>(here, [role, sentinel.url]);
    children.push(child);
    await child.request({ cmd: 'ready' });
    return child;
  };
  try {
    await startChild('agent');
    const bystander = await startChild('bystander');
    const callers = await startChild('callers');
    // A warm-up round without a measurement, so that the code of all processes is compiled.
    for (const burst of BURSTS) await callers.request({ cmd: 'burst', ...burst });
    const delays = { alone: 0, beside: 0 };
    await bystander.request({ cmd: 'begin' });
    await new Promise((resolve) => setTimeout(resolve, ALONE_MS));
    delays.alone = await bystander.request<number>({ cmd: 'end' });
    await bystander.request({ cmd: 'begin' });
    let failed = 0;
    let calls = 0;
    for (let round = 0; round < rounds; round++) {
      for (const burst of BURSTS) {
        failed += await callers.request<number>({ cmd: 'burst', ...burst });
        calls += burst.callers * burst.calls;
      }
    }
    delays.beside = await bystander.request<number>({ cmd: 'end' });
    return { calls, failed, aloneMs: delays.alone, besideMs: delays.beside };
  } finally {
    for (const child of children) child.stop();
    sentinel.stop();
  }
}

/** Connects to the sentinel at `url`, and returns the answers to the commands of a process with this role. */
async function startRole(role: string, url: string): Promise<(command: BurstCommand) => unknown> {
  const { Link } = await import('@fame-fabric/shared');
  const { wsDial } = await import('@fame-fabric/shared/node');
  const connect = async () => {
    const link = new Link({ url, dial: wsDial });
    await link.connect();
    return link;
  };
  const serve = async (address: string): Promise<void> => {
    const link = await connect();
    await link.bind(address, {
      onCall: (call) => call.reply('x'.repeat((call.params as { answer: number }).answer)),
    });
  };
  if (role === 'agent') {
    await serve('burst@fame.fabric');
    return () => undefined;
  }
  if (role === 'callers') {
    return async (command) => {
      if (command.cmd !== 'burst') return undefined;
      const { callers, calls, request, answer } = command;
      const params = { answer, text: 'x'.repeat(request) };
      const links = await Promise.all(Array.from({ length: callers }, connect));
      const settled = await Promise.allSettled(
        links.flatMap((link) =>
          Array.from({ length: calls }, () => link.call('burst@fame.fabric', 'echo', params)),
        ),
      );
      await Promise.all(links.map((link) => link.close()));
      return settled.filter(({ status }) => status === 'rejected').length;
    };
  }
  await serve('bystander@fame.fabric');
  const caller = await connect();
  const delays: number[] = [];
  void (async () => {
    for (;;) {
      const from = performance.now();
      await caller.call('bystander@fame.fabric', 'echo', { answer: 10 });
      delays.push(performance.now() - from);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  return () => percentile(delays.splice(0), 0.99);
}

if (process.argv[1] === here && process.argv[2] && process.argv[3]) {
  const role = startRole(process.argv[2], process.argv[3]);
  answerCommands<BurstCommand>(async (command) => (await role)(command));
}
