// A client of any version, driven by lines of JSON: the client library at argv[2] attaches to the sentinel at argv[3].
import { createInterface } from 'node:readline';

/** One line of stdin. Each gets lines with its `id`: `{event}` for every event of a turn, then `{value}` or `{error}`. */
type Request = { readonly id: number } & Action;
export type Action =
  /** With `times`, the value counts the outcomes: `{ok: 9, NODE_BUSY: 1}`. */
  | { do: 'call'; address: string; method: string; params?: unknown; times?: number }
  | { do: 'stream'; address: string; method: string; params?: unknown; first?: number }
  | { do: 'turn'; conversation: string; text: string; isNew?: boolean }
  | { do: 'history'; conversation: string }
  /** Calls each operation of this version on the conversation. The value has `ok` or an error code for each. */
  | { do: 'operations'; conversation: string }
  /** Aborts the request with the id `target`. */
  | { do: 'abort'; target: number };

const { connect } = (await import(process.argv[2]!)) as typeof import('@fame-fabric/client/node');
const client = await connect({
  url: process.argv[3]!,
  ...(process.argv[4] === 'at-least-once' ? { deliveryProfile: 'at-least-once' } : {}),
});
const print = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
const codeOf = (error: Error & { code?: unknown }): string =>
  typeof error.code === 'string' ? error.code : error.name;
const open = new Map<number, AbortController>();

async function run({ id, ...action }: Request, signal: AbortSignal): Promise<unknown> {
  const options = { signal, timeoutMs: 60_000 };
  switch (action.do) {
    case 'call': {
      const { address, method, params, times = 1 } = action;
      if (times === 1) return client.call(address, method, params, options);
      const calls = Array.from({ length: times }, () => client.call(address, method, params, options));
      const counts: Record<string, number> = {};
      for (const { reason } of (await Promise.allSettled(calls)) as { reason?: Error }[]) {
        const name = reason === undefined ? 'ok' : codeOf(reason);
        counts[name] = (counts[name] ?? 0) + 1;
      }
      return counts;
    }
    case 'stream': {
      const items: unknown[] = [];
      for await (const item of client.stream(action.address, action.method, action.params, options)) {
        items.push(item);
        if (items.length === action.first) break;
      }
      return items;
    }
    case 'turn': {
      const conversation = client.conversation('chat@fame.fabric', {
        id: action.conversation,
        isResumed: !action.isNew,
      });
      let text = '';
      let streamed = '';
      for await (const event of conversation.stream(action.text, {
        signal,
        include: ['reasoning', 'waiting'],
      })) {
        print({ id, event: event.type });
        if (event.type === 'text') streamed += event.text;
        if (event.type === 'restart') streamed = streamed.slice(0, event.keep);
        if (event.type === 'done') text = event.text;
      }
      if (streamed !== text)
        throw new Error(`The stream has ${streamed.length} characters of ${text.length}`);
      return text;
    }
    case 'history': {
      return client.call('chat@fame.fabric', 'get_history', { args: [action.conversation] }, options);
    }
    case 'operations':
      return operationsOf(action.conversation);
    case 'abort':
      open.get(action.target)?.abort();
      return undefined;
  }
}

async function operationsOf(id: string): Promise<Record<string, string>> {
  const all = client.conversations('chat@fame.fabric');
  const conversation = client.conversation('chat@fame.fabric', { id, isResumed: true });
  const turnId = crypto.randomUUID();
  await conversation.ask('for the operations', { turnId });
  const follow = async () => {
    for await (const event of all.follow(id)) if (event.type === 'done') return;
  };
  const attempts: Record<string, () => Promise<unknown>> = {
    list: () => all.list(),
    readEvents: () => all.readEvents(id),
    follow,
    turn: () => all.turn(id, turnId),
    prompt: () => all.prompt(id, turnId, 1),
    fork: async () => (await all.fork(id, { at: turnId })).ask('in the fork'),
    answerApproval: () => all.answerApproval(id, 'unknown', { approve: true }),
    options: () => conversation.ask('with options', { options: { temperature: 0 } }),
    retryKey: () => conversation.ask('with a key', { retryKey: turnId }),
    messages: () =>
      client
        .conversation('chat@fame.fabric', { messages: [{ role: 'assistant', content: 'Hello' }] })
        .ask('with messages'),
  };
  const outcomes: Record<string, string> = {};
  for (const [name, attempt] of Object.entries(attempts)) {
    outcomes[name] = await attempt().then(() => 'ok', codeOf);
  }
  return outcomes;
}

print({ ready: client.path });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as Request;
  const stop = new AbortController();
  open.set(request.id, stop);
  run(request, stop.signal).then(
    (value) => print({ id: request.id, value: value ?? null }),
    (error: Error) => print({ id: request.id, error: codeOf(error), message: String(error) }),
  );
}
process.exit(0);
