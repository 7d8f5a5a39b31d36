// Our agents that the examples of the matrix call: `agents.ts KIND=ADDRESS...`. All attach as one node to FAME_DIRECT_ADMISSION_URL,
// and `runAgents` prints a line for each address.
import {
  type Agent,
  ChatAgent,
  type ChatModel,
  defineAgent,
  operation,
  runAgents,
  type TaskHandler,
} from '@fame-fabric/agents';
import { firstData, firstText, type TaskSendParams } from '@fame-fabric/shared';
import { z } from 'zod';

const print = (event: string): void => console.log(JSON.stringify({ event }));
const twoNumbers = z.object({ x: z.number(), y: z.number() });
const dataOf = <T>({ message }: TaskSendParams): T => firstData(message) as T;

/** A wait that ends early when `signal` aborts. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

const math = (address: string): Agent =>
  defineAgent({
    address,
    capabilities: [`fame.capability.${address.split('@')[0]}`],
    operations: {
      add: operation({ params: twoNumbers, run: ({ x, y }) => x + y }),
      multiply: operation({ params: twoNumbers, run: ({ x, y }) => x * y }),
      fib_stream: operation({
        params: z.object({ n: z.int() }),
        async *run({ n }) {
          let [a, b] = [0, 1];
          for (let i = 0; i < n; i++) {
            yield a;
            [a, b] = [b, a + b];
          }
        },
      }),
      slow: operation({
        params: z.object({ ms: z.int(), tag: z.string() }),
        async run({ ms, tag }, { signal }) {
          print(tag);
          await pause(ms, signal);
          return 'done';
        },
      }),
      delegate: operation({
        params: twoNumbers.extend({ to: z.string() }),
        run: ({ to, x, y }, { link }) => link.call(to, 'multiply', { x, y }),
      }),
      whoami: operation({ run: () => process.pid }),
    },
  });

/** An agent that runs tasks and has no operations. */
const worker =
  (start: TaskHandler['start']) =>
  (address: string): Agent =>
    defineAgent({ address, tasks: { start } });

const work = worker(async (params, { signal, progress }) => {
  const { steps, stepMs } = dataOf<{ steps: number; stepMs: number }>(params);
  for (let step = 1; step <= steps; step++) {
    await pause(stepMs, signal);
    progress({ progress: step / steps });
  }
  return { steps };
});

/** Registers itself for notifications of a task of `sender`, runs that task, and returns the notifications. */
function receiver(address: string): Agent {
  const listeners = new Map<string, (text: string) => void>();
  return defineAgent({
    address,
    tasks: {
      async start(params, { id, link }) {
        const { sender } = dataOf<{ sender: string }>(params);
        const task = `${id}-sender`;
        const notifications: string[] = [];
        const { promise: complete, resolve } = Promise.withResolvers<void>();
        listeners.set(task, (text) => {
          if (notifications.push(text) === 3) resolve();
        });
        const tasks = link.task(sender);
        await tasks.setPush(task, { url: address });
        await tasks.run(null, { id: task });
        await complete;
        return { notifications };
      },
    },
    onMessage(payload) {
      const { task_id, message } = payload as { task_id: string; message: string };
      listeners.get(task_id)?.(message);
    },
  });
}

/** Its task sends three notifications to the address that was registered before the task began. */
function sender(address: string): Agent {
  const endpoints = new Map<string, string>();
  return defineAgent({
    address,
    operations: {
      'tasks/pushNotification/set': operation({
        params: z.looseObject({ id: z.string(), pushNotificationConfig: z.looseObject({ url: z.string() }) }),
        run(params) {
          endpoints.set(params.id, params.pushNotificationConfig.url);
          return params;
        },
      }),
    },
    tasks: {
      start(_params, { id, link }) {
        for (let n = 1; n <= 3; n++) {
          link.send(endpoints.get(id)!, { task_id: id, message: `notification ${n}` });
        }
      },
    },
  });
}

/** Sends a text to other agents at once, and combines the results. */
const analysis = worker(async (params, { link }) => {
  const { text, workers } = dataOf<{ text: string; workers: string[] }>(params);
  const [summary, sentiment] = await link.broadcast(workers, text);
  return { summary: summary?.ok && summary.result, sentiment: sentiment?.ok && sentiment.result };
});

/** A model that answers with all messages so far. */
const joiningModel: ChatModel = {
  name: 'joining',
  async *stream({ messages }) {
    const said = messages.filter(({ role }) => role === 'user').map(({ content }) => content);
    yield { choices: [{ delta: { content: said.join(', then ') }, finish_reason: 'stop' }] };
  },
};

/** Keeps the plain messages that it receives. */
function inbox(address: string): Agent {
  const messages: unknown[] = [];
  return defineAgent({
    address,
    operations: { received: operation({ run: () => messages }) },
    onMessage: (message) => void messages.push(message),
  });
}

/** Its state survives a restart of the process. */
const keeper = (address: string): Agent =>
  defineAgent({
    address,
    state: true,
    operations: {
      store: operation({
        params: z.object({ key: z.string(), value: z.string() }),
        async run({ key, value }, { state }) {
          await state.set(key, value);
          return value;
        },
      }),
      retrieve: operation({
        params: z.object({ key: z.string() }),
        run: ({ key }, { state }) => state.get(key),
      }),
    },
  });

/** Its process crashes while it handles a message for the first time. The next process handles the message again. */
const crashing = (address: string): Agent =>
  defineAgent({
    address,
    state: true,
    durableMessages: true,
    async onMessage(message, _envelope, { delivery, state }) {
      if (delivery?.attempt === 1) process.exit(1);
      await state.update<unknown[]>('handled', (list = []) => [...list, message]);
    },
    operations: {
      handled: operation({ run: async (_params, { state }) => (await state.get('handled')) ?? [] }),
    },
  });

const KINDS: Record<string, (address: string) => Agent> = {
  math,
  work,
  receiver,
  sender,
  summarizer: worker(({ message }) => `${firstText(message)!.split('.')[0]}.`),
  sentiment: worker(({ message }) => (firstText(message)!.includes('but') ? 'mixed' : 'clear')),
  analysis,
  chat: (address) => new ChatAgent({ address, model: joiningModel }),
  inbox,
  keeper,
  crashing,
};

const agents = process.argv.slice(2).map((argument) => {
  const [kind, address] = argument.split('=') as [string, string];
  return KINDS[kind]!(address);
});
process.exitCode = await runAgents(agents);
