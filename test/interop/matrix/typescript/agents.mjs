// Agents of naylence for TypeScript that the examples of the matrix call: `agents.mjs KIND=ADDRESS...`. All attach as one node to
// FAME_DIRECT_ADMISSION_URL. The node prints `served` once every address is bound.
import { Agent, BackgroundTaskAgent, BaseAgent, BaseAgentState, NODE_CONFIG } from '@naylence/agent-sdk';
import { operation, withFabric } from '@naylence/runtime';

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Applies the decorator `@operation` as a function, because Node runs this file without a compiler. */
function offer(agent, operations) {
  for (const [method, options] of Object.entries(operations)) {
    const { prototype } = agent;
    operation(options)(prototype, method, Object.getOwnPropertyDescriptor(prototype, method));
  }
}

class MathAgent extends BaseAgent {
  get capabilities() {
    return ['fame.capability.agent', `fame.capability.${this.name}`];
  }
  add({ x, y }) {
    return x + y;
  }
  multiply({ x, y }) {
    return x * y;
  }
  async *fib({ n }) {
    let [a, b] = [0, 1];
    for (let i = 0; i < n; i++) {
      yield a;
      [a, b] = [b, a + b];
    }
  }
  async slow({ ms, tag }) {
    print(tag);
    await pause(ms);
    return 'done';
  }
  /** Calls another agent. */
  delegate({ to, x, y }) {
    return Agent.remoteByAddress(to).multiply({ x, y });
  }
  whoami() {
    return process.pid;
  }
}
offer(MathAgent, {
  add: {},
  multiply: {},
  fib: { name: 'fib_stream', streaming: true },
  slow: {},
  delegate: {},
  whoami: {},
});

/** Works in steps; the payload is `{ steps, stepMs }`. */
class WorkAgent extends BackgroundTaskAgent {
  async runBackgroundTask({ id, message }) {
    const { steps, stepMs } = message.parts[0].data;
    for (let step = 1; step <= steps; step++) {
      await pause(stepMs);
      await this.updateTaskArtifact(id, { parts: [{ type: 'data', data: { progress: step / steps } }] });
    }
    return { steps };
  }
}

/** Registers itself for notifications of a task of `sender`, runs that task, and returns the notifications. */
class ReceiverAgent extends BackgroundTaskAgent {
  #notifications = new Map();
  async runBackgroundTask({ id, message }) {
    const task = `${id}-sender`;
    const received = [];
    const complete = new Promise((resolve) => {
      this.#notifications.set(task, (text) => received.push(text) === 3 && resolve());
    });
    const sender = Agent.remoteByAddress(message.parts[0].data.sender);
    await sender.registerPushEndpoint({
      id: task,
      pushNotificationConfig: { url: `${this.name}@fame.fabric` },
    });
    await sender.runTask(null, task);
    await complete;
    return { notifications: received };
  }
  async onMessage({ task_id, message }) {
    this.#notifications.get(task_id)?.(message);
    return null;
  }
}

/** Its task sends three notifications to the registered address. */
class SenderAgent extends BackgroundTaskAgent {
  #endpoints = new Map();
  async runBackgroundTask({ id }) {
    for (let n = 1; n <= 3; n++) {
      await this.fabric.sendMessage(this.#endpoints.get(id), { task_id: id, message: `notification ${n}` });
    }
  }
  async registerPushEndpoint(config) {
    this.#endpoints.set(config.id, config.pushNotificationConfig.url);
    return config;
  }
}

class SummarizerAgent extends BaseAgent {
  async runTask(text) {
    return `${text.split('.')[0]}.`;
  }
}

class SentimentAgent extends BaseAgent {
  async runTask(text) {
    return text.includes('but') ? 'mixed' : 'clear';
  }
}

/** Sends a text to other agents at once, and combines the results. */
class AnalysisAgent extends BaseAgent {
  async runTask({ text, workers }) {
    const [[, summary], [, sentiment]] = await Agent.broadcast(workers, text);
    return { summary, sentiment };
  }
}

/** A conversation without a model: a reply contains all messages so far. */
class ChatAgent extends BaseAgent {
  #conversations = new Map();
  async startTask({ id }) {
    this.#conversations.set(id, []);
    return { id, sessionId: id, status: { state: 'working', timestamp: new Date() } };
  }
  run_turn(id, text) {
    const messages = this.#conversations.get(id);
    if (!messages) throw new Error('unknown conversation');
    messages.push(text);
    return messages.join(', then ');
  }
  end_conversation(id) {
    this.#conversations.delete(id);
    return null;
  }
}
offer(ChatAgent, { run_turn: {}, end_conversation: {} });

/** Keeps the plain messages that it receives. */
class InboxAgent extends BaseAgent {
  #messages = [];
  async onMessage(message) {
    this.#messages.push(message);
    return null;
  }
  received() {
    return this.#messages;
  }
}
offer(InboxAgent, { received: {} });

class KeptValues extends BaseAgentState {
  values = {};
}

/** Its state survives a restart of the process. */
class KeeperAgent extends BaseAgent {
  constructor(name) {
    super(name, { stateModel: KeptValues });
  }
  async store(key, value) {
    await this.withState(async (state) => {
      state.values[key] = value;
    });
    return value;
  }
  async retrieve(key) {
    return (await this.getState()).values[key] ?? null;
  }
}
offer(KeeperAgent, { store: {}, retrieve: {} });

class Attempts extends BaseAgentState {
  counts = {};
  handled = [];
}

/** Its process crashes while it handles a message for the first time. The next process handles the message again. */
class CrashingAgent extends BaseAgent {
  constructor(name) {
    super(name, { stateModel: Attempts });
  }
  async onMessage(message) {
    const attempts = await this.withState(async ({ counts }) => {
      counts[message] = (counts[message] ?? 0) + 1;
      return counts[message];
    });
    if (attempts === 1) {
      await pause(100);
      process.exit(1);
    }
    await this.withState(async ({ handled }) => void handled.push(message));
    return null;
  }
  async handled() {
    return (await this.getState()).handled;
  }
}
offer(CrashingAgent, { handled: {} });

const KINDS = {
  math: MathAgent,
  work: WorkAgent,
  receiver: ReceiverAgent,
  sender: SenderAgent,
  summarizer: SummarizerAgent,
  sentiment: SentimentAgent,
  analysis: AnalysisAgent,
  chat: ChatAgent,
  inbox: InboxAgent,
  keeper: KeeperAgent,
  crashing: CrashingAgent,
};

const agents = process.argv.slice(2).map((argument) => {
  const [kind, address] = argument.split('=');
  return { agent: new KINDS[kind](address.split('@')[0]), address };
});
// A node that asks for a wildcard binds its addresses as members of a pool.
const node = { ...NODE_CONFIG.node };
if (process.env.MATRIX_POOL) node.requested_logicals = ['*.fame.fabric'];

await withFabric({ rootConfig: { ...NODE_CONFIG, node } }, async (fabric) => {
  for (const { agent, address } of agents) await fabric.serve(agent, address);
  print('served');
  await new Promise(() => {});
});
