// A client of the unmodified peer that a test drives: one JSON command a line on standard input, one JSON answer a line on
// standard output. Commands run at the same time, as calls of a client do.
import { createInterface } from 'node:readline';
import { Agent, CLIENT_CONFIG, makeTaskParams } from '@naylence/agent-sdk';
import { enableLogging, LogLevel, withFabric } from '@naylence/runtime';

enableLogging(LogLevel.ERROR);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const remote = ({ address, capabilities }) =>
  capabilities ? Agent.remoteByCapabilities(capabilities) : Agent.remoteByAddress(address);

const VERBS = {
  call: (command) => remote(command)[command.method](...(command.args ?? [])),
  runTask: (command) => remote(command).runTask(command.payload),

  /** Makes many parallel calls; returns the count of correct replies and the first errors. */
  async burst({ count, method = 'echo', ...target }) {
    const agent = remote(target);
    const calls = Array.from({ length: count }, (_, i) => agent[method](`n${i}`));
    const settled = await Promise.allSettled(calls);
    const right = settled.filter((s, i) => s.status === 'fulfilled' && s.value === `n${i}`).length;
    const errors = settled.filter((s) => s.status === 'rejected').map((s) => String(s.reason?.message));
    return { right, errors: errors.slice(0, 3), failed: errors.length };
  },

  /** Reads a stream with a pause of `slowMs` after every `slowEvery` items. With `summary` it only checks the order of 1..n. */
  async stream({ method, args = [], slowMs = 0, slowEvery = 1, summary = false, ...target }) {
    const items = await remote(target)[method](...args, { _stream: true });
    const seen = [];
    let count = 0;
    let inOrder = true;
    for await (const item of items) {
      count++;
      if (item !== count) inOrder = false;
      if (!summary) seen.push(item);
      if (slowMs > 0 && count % slowEvery === 0) await pause(slowMs);
    }
    return summary ? { count, inOrder } : seen;
  },

  /** Starts a task and follows it; cancels it after `cancelAfter` artifacts, if given. */
  async task({ id, payload, cancelAfter, ...target }) {
    const agent = remote(target);
    const params = makeTaskParams({ id, payload });
    const started = await agent.startTask(params);
    const events = [];
    let cancelled;
    for await (const event of agent.subscribeToTaskUpdates(params)) {
      events.push(event.artifact ? 'artifact' : event.status.state);
      if (cancelAfter && !cancelled && events.filter((e) => e === 'artifact').length >= cancelAfter) {
        cancelled = (await agent.cancelTask({ id })).status.state;
      }
    }
    const final = await agent.getTaskStatus({ id });
    return { started: started.status.state, events, cancelled, final: final.status.state };
  },

  async startTask({ id, payload, ...target }) {
    return (await remote(target).startTask(makeTaskParams({ id, payload }))).status.state;
  },

  async taskState({ id, ...target }) {
    return (await remote(target).getTaskStatus({ id })).status.state;
  },

  async push({ id, url, ...target }) {
    const agent = remote(target);
    await agent.registerPushEndpoint({ id, pushNotificationConfig: { url } });
    const kept = await agent.getPushNotificationConfig({ id });
    return { url: kept.pushNotificationConfig.url, sentTo: await agent.notify(id) };
  },

  async send({ address, message, fabric }) {
    await fabric.sendMessage(address, message);
    return null;
  },
};

await withFabric({ rootConfig: CLIENT_CONFIG }, async (fabric) => {
  const print = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  const run = async ({ seq, verb, ...command }) => {
    const began = performance.now();
    const ms = () => Math.round(performance.now() - began);
    try {
      const result = await VERBS[verb]({ ...command, fabric });
      print({ seq, ok: true, result: result ?? null, ms: ms() });
    } catch (error) {
      print({ seq, ok: false, error: String(error?.message ?? error), ms: ms() });
    }
  };
  print({ event: 'ready' });
  const pending = new Set();
  for await (const line of createInterface({ input: process.stdin })) {
    const done = run(JSON.parse(line));
    pending.add(done);
    done.finally(() => pending.delete(done));
  }
  await Promise.allSettled(pending);
});
process.exit(0);
