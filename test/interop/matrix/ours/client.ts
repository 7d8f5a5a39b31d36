// The clients of the examples, in our library. It reads one JSON command a line, `{"seq", "verb", ...targets}`, and prints one JSON
// answer a line.
import { createInterface } from 'node:readline';
import { connect } from '@fame-fabric/client/node';

const client = await connect();

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** Starts a task and follows it. With `isCancelled`, cancels it when half of the steps are done. */
async function follow(address: string, payload: Record<string, unknown>, isCancelled = false) {
  const tasks = client.task(address);
  const { id } = await tasks.start(payload);
  const states: string[] = [];
  let progress = 0;
  for await (const event of tasks.subscribe(id)) {
    if ('status' in event) states.push(event.status.state);
    else {
      const before = progress;
      const [part] = event.artifact.parts;
      progress = Number(part?.type === 'data' && part.data.progress);
      if (isCancelled && before < 0.5 && progress >= 0.5) await tasks.cancel(id);
    }
  }
  return { states, hasProgress: progress > 0 };
}

type Targets = Record<string, string>;

const VERBS: Record<string, (targets: Targets) => unknown> = {
  rpc: async ({ math }) => [
    await client.call(math!, 'add', { x: 3, y: 4 }),
    await client.call(math!, 'multiply', { x: 6, y: 7 }),
  ],
  stream: ({ math }) => collect(client.stream(math!, 'fib_stream', { n: 10 })),
  capability: ({ capabilities }) =>
    client.call({ capabilities: capabilities as unknown as string[] }, 'add', { x: 3, y: 4 }),
  status: ({ work }) => follow(work!, { steps: 3, stepMs: 300 }),
  cancellable: ({ work }) => follow(work!, { steps: 8, stepMs: 200 }, true),
  push: ({ receiver, sender }) => client.task(receiver!).run({ sender }),
  'multi-agent': ({ analysis, workers }) =>
    client.task(analysis!).run({
      text: 'The pictures are good. The plot is simple, but it works.',
      workers,
    }),
  conversation: async ({ chat }) => {
    await using conversation = client.conversation(chat!, { systemPrompt: 'Be brief.' });
    return [await conversation.ask('one'), await conversation.ask('two')];
  },
  send: async ({ to, message }) => {
    await client.send(to!, message, { ack: true });
    return { ok: true };
  },
  received: ({ inbox }) => client.call(inbox!, 'received'),
  store: ({ keeper, key, value }) => client.call(keeper!, 'store', { args: [key, value] }),
  retrieve: ({ keeper, key }) => client.call(keeper!, 'retrieve', { args: [key] }),
  handled: ({ crashing }) => client.call(crashing!, 'handled'),
  pools: ({ pool }) => Promise.all(Array.from({ length: 20 }, () => client.call(pool!, 'whoami'))),
  delegate: ({ via, to }) => client.call(via!, 'delegate', { to, x: 6, y: 7 }),
  add: ({ math }) => client.call(math!, 'add', { x: 3, y: 4 }),
  slow: ({ math, ms, tag }) => client.call(math!, 'slow', { ms, tag }),
};

const print = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);

async function run({ seq, verb, ...targets }: { seq: number; verb: string } & Targets): Promise<void> {
  const began = performance.now();
  const ms = (): number => Math.round(performance.now() - began);
  try {
    print({ seq, ok: true, result: (await VERBS[verb]!(targets)) ?? null, ms: ms() });
  } catch (error) {
    print({ seq, ok: false, error: (error as Error).message, ms: ms() });
  }
}

print({ event: 'ready' });
for await (const line of createInterface({ input: process.stdin })) void run(JSON.parse(line));
await client.close();
