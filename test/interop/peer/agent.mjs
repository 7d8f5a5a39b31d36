// An agent of the unmodified peer: `agent.mjs <kind> <address>`. It attaches to FAME_DIRECT_ADMISSION_URL and prints events that
// tests wait for. It applies the decorators of the SDK as functions, so it runs without a compiler.
import { BackgroundTaskAgent, BaseAgent, NODE_CONFIG, TaskState } from '@naylence/agent-sdk';
import { operation } from '@naylence/runtime';

const [kind = 'math', address = `${kind}@fame.fabric`] = process.argv.slice(2);

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Applies `@operation()` to methods. */
function offer(agent, operations) {
  for (const [method, options] of Object.entries(operations)) {
    const { prototype } = agent;
    operation(options)(prototype, method, Object.getOwnPropertyDescriptor(prototype, method));
  }
}

class MathAgent extends BaseAgent {
  add(x, y) {
    return typeof x === 'object' ? x.x + x.y : x + y;
  }
  echo(value) {
    return value ?? null;
  }
  whoami() {
    return { pid: process.pid, address };
  }
  fail(text) {
    throw new Error(text ?? 'on purpose');
  }
  async slow(ms) {
    print('slow-started', { ms });
    await pause(ms);
    return `after ${ms} ms`;
  }
  crash() {
    process.exit(7);
  }
  big(bytes) {
    return 'x'.repeat(bytes);
  }
  async *fib(n) {
    let [a, b] = [0, 1];
    for (let i = 0; i < n; i++) {
      yield a;
      [a, b] = [b, a + b];
    }
  }
  async *count(n) {
    for (let i = 1; i <= n; i++) {
      yield i;
      // The SDK reads items faster than it sends them. The pauses keep its queue of 512 from overflowing.
      if (i % 50 === 0) await pause(80);
    }
  }
  async *drip(n) {
    for (let i = 1; i <= n; i++) {
      yield i;
      await pause(50);
    }
  }
}
offer(MathAgent, {
  add: {},
  echo: {},
  whoami: {},
  fail: {},
  slow: {},
  crash: {},
  big: {},
  fib: { streaming: true, name: 'fib_stream' },
  count: { streaming: true },
  drip: { streaming: true },
});

class CapableAgent extends MathAgent {
  get capabilities() {
    return ['fame.capability.agent', 'fame.capability.math'];
  }
}

/** Works in steps until it is done or cancelled: the payload is `{ steps, stepMs }`. */
class WorkAgent extends BackgroundTaskAgent {
  async runBackgroundTask(params) {
    const { steps = 5, stepMs = 20 } = params.message.parts[0]?.data ?? {};
    for (let step = 1; step <= steps; step++) {
      if ((await this.getTaskState(params.id)) === TaskState.CANCELED) return null;
      await this.updateTaskArtifact(params.id, { parts: [{ type: 'data', data: { step } }], index: step });
      await pause(stepMs);
    }
    return { steps };
  }
}

/** Sends three plain messages to the address that a client registered for its task. */
class PushAgent extends BaseAgent {
  #targets = new Map();
  async registerPushEndpoint(config) {
    this.#targets.set(config.id, config.pushNotificationConfig.url);
    return config;
  }
  async getPushNotificationConfig({ id }) {
    return { id, pushNotificationConfig: { url: this.#targets.get(id) } };
  }
  async notify(id) {
    for (let n = 1; n <= 3; n++) await this.fabric.sendMessage(this.#targets.get(id), { task_id: id, n });
    return this.#targets.get(id);
  }
}
offer(PushAgent, { notify: {} });

/** Prints every plain message. */
class ReceiverAgent extends BaseAgent {
  async onMessage(message) {
    print('message', { message });
    return null;
  }
}

/** A conversation without a model: it remembers earlier messages, so a turn depends on the turns before it. */
class ChatAgent extends BaseAgent {
  #messages = new Map();
  async startTask(params) {
    this.#messages.set(params.id, []);
    const status = { state: TaskState.WORKING, timestamp: new Date() };
    return { id: params.id, sessionId: params.sessionId ?? params.id, status };
  }
  run_turn(id, text) {
    const messages = this.#messages.get(id);
    if (!messages) throw new Error('no such conversation');
    messages.push(text);
    return `turn ${messages.length}: you said ${messages.join(', then ')}`;
  }
  end_conversation(id) {
    this.#messages.delete(id);
    return null;
  }
}
offer(ChatAgent, { run_turn: {}, end_conversation: {} });

const KINDS = {
  math: MathAgent,
  capable: CapableAgent,
  work: WorkAgent,
  push: PushAgent,
  receiver: ReceiverAgent,
  chat: ChatAgent,
};
const Kind = KINDS[kind];
if (!Kind) throw new Error(`Unknown kind of agent "${kind}". Use one of ${Object.keys(KINDS).join(', ')}.`);
await new Kind(`${kind}-agent`).serve(address, {
  rootConfig: NODE_CONFIG,
  logLevel: process.env.PEER_LOG ?? 'info',
});
