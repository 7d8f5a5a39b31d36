// X8: client, agent and sentinel of each packed release in all mixed combinations with this version, as processes. A failure here
// means that an update of one part of a fabric breaks the parts that were not updated yet.
import { randomUUID } from 'node:crypto';
import { gate, stall } from '@fame-fabric/agents/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import type { Proc } from '../kit/processes.ts';
import { metric, type OurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { lastUserText, startModel, stopStack } from '../kit/stack.ts';
import { LibraryClient, runFame, startAgent, startSentinel } from './fabric.ts';
import { type Installed, RELEASES, thisVersion, unpack } from './releases.ts';

const MATH = 'math@fame.fabric';
const ECHO = 'echo@fame.fabric';
const WINDOW = { FAME_RESUME_WINDOW_MS: '2000' };
/** A long answer: many more messages than the credit of a flow. */
const LONG = { pieces: 600, piece: 'A piece of a long answer. '.repeat(4) };

const latest = thisVersion();
const installed = new Map<string, Installed>(RELEASES.map((version) => [version, unpack(version)]));
const at = (version: string): Installed => installed.get(version) ?? latest;

const combinations = RELEASES.flatMap((old) =>
  [latest.version, old].flatMap((client) =>
    [latest.version, old].flatMap((agent) =>
      [latest.version, old].map((sentinel) => ({ client, agent, sentinel })),
    ),
  ),
).filter(({ client, agent, sentinel }) => new Set([client, agent, sentinel]).size > 1);

afterAll(stopStack);

test('a release is packed, and this version has another number', () => {
  expect(RELEASES).toContain('0.1.0');
  expect(RELEASES).not.toContain(latest.version);
});

describe.each(combinations)('X8: client $client, agent $agent, sentinel $sentinel', (versions) => {
  const client = at(versions.client);
  const agent = at(versions.agent);
  const sentinel = at(versions.sentinel);
  /** Of all processes, as with `make start`: the agents and commands of this version find the key of the sentinel there. */
  const dataDir = temporaryDirectory();
  const held = new Map<string, ReturnType<typeof gate>>();
  /** Gates between the pieces of the answer to `stepwise`. They hold the first request only. */
  const stepwise: ReturnType<typeof gate>[] = [];
  let model: Awaited<ReturnType<typeof startModel>>;
  let hub: OurSentinel;
  let agents: Proc;
  let library: LibraryClient;

  /** A gate in the middle of the answer to `text`. It holds the first request only. */
  function hold(text: string) {
    const one = gate();
    held.set(text, one);
    return one;
  }

  beforeAll(async () => {
    model = await startModel({
      respond: (request) => {
        const text = lastUserText(request);
        const one = held.get(text);
        held.delete(text);
        if (text === 'stepwise') {
          const gates = stepwise.splice(0);
          return Array.from({ length: 20 }, (_, i) => [
            `${i} ${LONG.piece}`,
            ...gates.slice(i, i + 1),
          ]).flat();
        }
        if (one) return ['The beginning', one, ' and the end'];
        if (text.startsWith('continue')) return 'The beginning and the end';
        if (text === 'stall') return ['The beginning', stall()];
        if (text === 'long') return Array<string>(LONG.pieces).fill(LONG.piece);
        return `re: ${text} (${request.messages.filter(({ role }) => role !== 'system').length})`;
      },
    });
    hub = await startSentinel(sentinel, { dataDir, env: WINDOW });
    agents = await startAgent(agent, hub.url, { dataDir, modelUrl: model.url });
    library = await LibraryClient.start(client, hub.url);
  });

  const fame = (args: readonly string[], input?: string) =>
    runFame(client, { url: hub.url, dataDir, ...(input ? { input } : {}) }, ...args);

  async function restartAgent(env: Record<string, string> = {}): Promise<void> {
    await agents.kill();
    agents = await startAgent(agent, hub.url, { dataDir, modelUrl: model.url, env });
  }

  async function restartSentinel(meanwhile = (): void => {}): Promise<void> {
    await hub.proc.kill();
    meanwhile();
    hub = await startSentinel(sentinel, { port: hub.port, dataDir: hub.dataDir, env: WINDOW });
  }

  test('calls, streams, and errors of the command', async () => {
    const sum = await fame(['call', MATH, 'add', '{"x":2,"y":40}']);
    expect(sum).toMatchObject({ code: 0, stdout: '42\n' });
    const stream = await fame(['call', MATH, 'fib_stream', '{"n":7}', '--stream', '--json']);
    expect(stream).toMatchObject({ code: 0, stdout: '0\n1\n1\n2\n3\n5\n8\n' });
    const refused = await fame(['call', MATH, 'add', '{"x":"two"}']);
    expect(refused).toMatchObject({ code: 1, output: expect.stringContaining('PARAMS_INVALID') });
    const lost = await fame(['call', 'missing@fame.fabric', 'add']);
    expect(lost).toMatchObject({ code: 69, output: expect.stringContaining('NO_ROUTE') });
    // 0.1.0 sends no key, which the list of nodes of a newer sentinel needs: docs/upgrading.md.
    const mayList = client === latest || sentinel !== latest;
    const list = await fame(['ps']);
    expect(list).toMatchObject(mayList ? { code: 0, output: expect.stringContaining(MATH) } : { code: 69 });
  });

  test('a conversation from a pipe is resumed after a restart of the agent', async () => {
    // 0.1.0 needs no flag to send each line of a pipe as a message.
    const lines = client === latest ? ['--lines'] : [];
    const first = await fame(['chat', ...lines], 'one\ntwo\n/leave\n');
    expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('re: two (3)') });
    await restartAgent();
    const second = await fame(['chat', '--resume', ...lines], 'three\nexit\n');
    expect(second).toMatchObject({ code: 0, stdout: expect.stringContaining('re: three (5)') });
  });

  test('many calls and large messages at once', async () => {
    const add = { do: 'call', address: MATH, method: 'add', params: { x: 1, y: 2 } } as const;
    expect(await library.ask({ ...add, times: 1_000 })).toEqual({ ok: 1_000 });
    const params = { value: 'x'.repeat(64 * 1024) };
    expect(await library.ask({ do: 'call', address: ECHO, method: 'echo', params, times: 40 })).toEqual({
      ok: 40,
    });
  });

  test('a long stream, and an endless one that is left', async () => {
    const text = await library.ask({ do: 'turn', conversation: randomUUID(), text: 'long', isNew: true });
    expect(text).toBe(LONG.piece.repeat(LONG.pieces));
    const count = { do: 'stream', address: MATH, method: 'count', params: {} } as const;
    expect(await library.ask({ ...count, first: 500 })).toHaveLength(500);
    await eventually(async () => expect(await openCalls(hub)).toBe(0));
  });

  // Clients of earlier versions lack these operations.
  if (client === latest)
    test('operations of this version work, or fail with METHOD_NOT_FOUND', async () => {
      const conversation = randomUUID();
      await library.ask({ do: 'turn', conversation, text: 'hi', isNew: true });
      const names = 'list readEvents follow turn prompt fork answerApproval options retryKey messages'.split(
        ' ',
      );
      const every = (code: string) => Object.fromEntries(names.map((name) => [name, code]));
      expect(await library.ask({ do: 'operations', conversation })).toEqual(
        agent === latest
          ? { ...every('ok'), list: 'AUTH_FORBIDDEN', answerApproval: 'APPROVAL_UNKNOWN' }
          : every('METHOD_NOT_FOUND'),
      );
      expect(await library.ask({ do: 'turn', conversation, text: 'next' })).toMatch(/^re: next/);
    });

  test('a cancelled turn ends at the agent, and the conversation continues', async () => {
    const conversation = randomUUID();
    const turn = library.send({ do: 'turn', conversation, text: 'stall', isNew: true });
    expect(await turn.nextEvent()).toBe('text');
    turn.abort();
    expect(await turn.outcome).toMatchObject({ error: 'AbortError' });
    expect(await library.ask({ do: 'turn', conversation, text: 'next' })).toMatch(/^re: next/);
  });

  test('a turn outlives its agent, which is killed and started again', async () => {
    const conversation = randomUUID();
    const half = hold('continue after the agent');
    const turn = library.send({ do: 'turn', conversation, text: 'continue after the agent', isNew: true });
    expect(await turn.nextEvent()).toBe('text');
    await half.reached;
    await restartAgent();
    expect(await turn.outcome).toMatchObject({ value: 'The beginning and the end' });
    expect(await library.ask({ do: 'history', conversation })).toEqual([
      { role: 'user', content: 'continue after the agent' },
      { role: 'assistant', content: 'The beginning and the end' },
    ]);
  });

  test('a turn outlives its sentinel, which is killed and started again', async () => {
    const conversation = randomUUID();
    const half = hold('continue after the sentinel');
    const turn = library.send({ do: 'turn', conversation, text: 'continue after the sentinel', isNew: true });
    expect(await turn.nextEvent()).toBe('text');
    await half.reached;
    await restartSentinel(() => half.open());
    expect(await turn.outcome).toMatchObject({ value: 'The beginning and the end' });
    expect(await library.ask({ do: 'turn', conversation, text: 'next' })).toBe('re: next (3)');
    const add = { do: 'call', address: MATH, method: 'add', params: { x: 1, y: 2 } } as const;
    await eventually(async () => expect(await library.ask(add)).toBe(3));
  });

  test('a stream of many pieces outlives its agent and its sentinel, which are killed together', async () => {
    const conversation = randomUUID();
    const gates = Array.from({ length: 8 }, () => gate());
    stepwise.push(...gates);
    const turn = library.send({ do: 'turn', conversation, text: 'stepwise', isNew: true });
    for (const one of gates) {
      expect(await turn.nextEvent()).toBe('text');
      if (one !== gates.at(-1)) one.open();
    }
    await agents.kill();
    await restartSentinel();
    agents = await startAgent(agent, hub.url, { dataDir, modelUrl: model.url });
    const whole = Array.from({ length: 20 }, (_, i) => `${i} ${LONG.piece}`).join('');
    expect(await turn.outcome).toMatchObject({ value: whole });
    expect(await library.ask({ do: 'turn', conversation, text: 'next' })).toBe('re: next (3)');
  });

  test('with at-least-once delivery all calls are answered although the sentinel is killed meanwhile', async () => {
    await restartAgent({ FAME_DELIVERY_PROFILE: 'at-least-once' });
    const reliable = await LibraryClient.start(client, hub.url, 'at-least-once');
    const echo = { do: 'call', address: ECHO, method: 'echo', params: { value: 'x'.repeat(1_000) } } as const;
    const calls = reliable.send({ ...echo, times: 2_000 });
    await reliable.ask(echo);
    await restartSentinel();
    const {
      ok = 0,
      NO_ROUTE = 0,
      NODE_GONE = 0,
      ...others
    } = (await calls.outcome).value as Record<string, number>;
    // A client of 0.1.0 gives up a call that it repeats before the agent has bound its address again.
    const isLost = client === latest && NO_ROUTE + NODE_GONE > 0;
    expect({ answered: ok + NO_ROUTE + NODE_GONE, isLost, others }).toEqual({
      answered: 2_000,
      isLost: false,
      others: {},
    });
    const count = { do: 'stream', address: MATH, method: 'fib_stream', params: { n: 500 } } as const;
    // The agent may still be binding its addresses again.
    await eventually(async () => expect(await reliable.ask(count)).toHaveLength(500));
    const conversation = randomUUID();
    expect(await reliable.ask({ do: 'turn', conversation, text: 'hi', isNew: true })).toBe('re: hi (1)');
  });
});

const openCalls = (sentinel: OurSentinel): Promise<number> => metric(sentinel, 'fame_open_calls');
