// The clients of the examples, in naylence for TypeScript. It reads one JSON command a line, `{"seq", "example", ...targets}`, and
// prints one JSON answer a line.
import { createInterface } from 'node:readline';
import { Agent, CLIENT_CONFIG, makeTaskParams } from '@naylence/agent-sdk';
import { generateId } from '@naylence/core';
import { enableLogging, LogLevel, withFabric } from '@naylence/runtime';

enableLogging(LogLevel.ERROR);
const remote = (address) => Agent.remoteByAddress(address);

async function collect(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

/** Starts a task and follows it. With `isCancelled`, cancels it when half of the steps are done. */
async function follow(address, payload, isCancelled = false) {
  const agent = remote(address);
  const params = makeTaskParams({ id: generateId(), payload });
  await agent.startTask(params);
  const states = [];
  let progress = 0;
  for await (const event of agent.subscribeToTaskUpdates(params)) {
    if (event.status) states.push(event.status.state);
    else {
      const before = progress;
      progress = event.artifact.parts[0].data.progress;
      if (isCancelled && before < 0.5 && progress >= 0.5) await agent.cancelTask({ id: params.id });
    }
  }
  return { states, hasProgress: progress > 0 };
}

const EXAMPLES = {
  rpc: async ({ math }) => [
    await remote(math).add({ x: 3, y: 4 }),
    await remote(math).multiply({ x: 6, y: 7 }),
  ],
  stream: ({ math }) => collect(remote(math).fib_stream({ n: 10, _stream: true })),
  capability: ({ capabilities }) => Agent.remoteByCapabilities(capabilities).add({ x: 3, y: 4 }),
  status: ({ work }) => follow(work, { steps: 3, stepMs: 300 }),
  cancellable: ({ work }) => follow(work, { steps: 8, stepMs: 200 }, true),
  push: ({ receiver, sender }) => remote(receiver).runTask({ sender }),
  'multi-agent': ({ analysis, workers }) =>
    remote(analysis).runTask({ text: 'The pictures are good. The plot is simple, but it works.', workers }),
  conversation: async ({ chat }) => {
    const id = generateId();
    await remote(chat).startTask(makeTaskParams({ id, payload: { system_prompt: 'Be brief.' } }));
    const replies = [await remote(chat).run_turn(id, 'one'), await remote(chat).run_turn(id, 'two')];
    await remote(chat).end_conversation(id);
    return replies;
  },
  send: async ({ to, message }, fabric) => ({ ok: (await fabric.sendMessage(to, message))?.ok ?? null }),
  received: ({ inbox }) => remote(inbox).received(),
  store: ({ keeper, key, value }) => remote(keeper).store(key, value),
  retrieve: ({ keeper, key }) => remote(keeper).retrieve(key),
  handled: ({ crashing }) => remote(crashing).handled(),
  pools: ({ pool }) => Promise.all(Array.from({ length: 20 }, () => remote(pool).whoami())),
  delegate: ({ via, to }) => remote(via).delegate({ to, x: 6, y: 7 }),
  add: ({ math }) => remote(math).add({ x: 3, y: 4 }),
  slow: ({ math, ms, tag }) => remote(math).slow({ ms, tag }),
};

await withFabric({ rootConfig: CLIENT_CONFIG }, async (fabric) => {
  const print = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  const run = async ({ seq, verb, ...targets }) => {
    const began = performance.now();
    const ms = () => Math.round(performance.now() - began);
    try {
      print({ seq, ok: true, result: (await EXAMPLES[verb](targets, fabric)) ?? null, ms: ms() });
    } catch (error) {
      print({ seq, ok: false, error: String(error?.message ?? error), ms: ms() });
    }
  };
  print({ event: 'ready' });
  for await (const line of createInterface({ input: process.stdin })) void run(JSON.parse(line));
});
process.exit(0);
