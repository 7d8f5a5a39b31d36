// One connected trace of a turn, from the request of a caller to the last answer, as a collector receives it over OTLP from real
// processes: through the REPL, over a handoff, through a door, and after the agent was killed.

import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { callTools, gate, httpError, reply } from '@fame-fabric/agents/testing';
import { ATTRIBUTE } from '@fame-fabric/shared/internal';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runFame } from '../kit/commands.ts';
import { GENAI_REGISTRY, REQUIRED, registryFaults } from '../kit/genai-registry.ts';
import { OtlpReceiver, orphansOf, type ReceivedSpan } from '../kit/otlp-receiver.ts';
import { fameArgs, type Proc, startNode } from '../kit/processes.ts';
import { localKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { API_KEY, CHAT, lastUserText, openClient, startAgent, startModel, stopStack } from '../kit/stack.ts';

let receiver: OtlpReceiver;
beforeEach(async () => {
  receiver = await new OtlpReceiver().listen();
});
afterEach(async () => {
  await stopStack();
  await receiver.close();
  for (const { name, types, attributes } of receiver.spans) {
    expect(registryFaults(types), name).toEqual([]);
    const required = REQUIRED[String(attributes['gen_ai.operation.name'])] ?? [];
    for (const attribute of required) expect(attributes, name).toHaveProperty([attribute]);
  }
});
afterAll(stopStack);

/** Answers with two calculations at once, then with text. */
const twoTools = () =>
  startModel({
    respond: ({ messages }) =>
      messages.at(-1)?.role === 'tool'
        ? reply('Both are done.')
        : callTools([
            { name: 'calculator', arguments: { expression: '2+3' } },
            { name: 'calculator', arguments: { expression: '4*5' } },
          ]),
  });

const names = (trace: readonly ReceivedSpan[]): string[] => trace.map(({ name }) => name).sort();
const named = (trace: readonly ReceivedSpan[], name: string): ReceivedSpan => {
  const found = trace.filter((span) => span.name === name);
  expect(found, `${name} among ${names(trace).join(', ')}`).toHaveLength(1);
  return found[0]!;
};

describe('a turn with two tools', () => {
  test('is one connected trace through the REPL', async () => {
    const model = await twoTools();
    const sentinel = await startOurSentinel({ env: receiver.env });
    const agent = await startAgent(sentinel.url, { model, env: receiver.env });
    const { output } = await runFame({ url: sentinel.url, env: receiver.env }, ['chat'], 'Calculate.\n');
    expect(output).toContain('Both are done.');
    // The last spans of a process are exported when it ends.
    await agent.stop();
    await sentinel.proc.stop();
    const turn = await receiver.span(
      ({ name, kind }) => name === `invoke_agent ${CHAT}` && kind === 'internal',
    );
    const trace = receiver.trace(turn.traceId);
    expect(orphansOf(trace)).toEqual([]);
    expect(trace.filter(({ parentSpanId }) => parentSpanId === '')).toHaveLength(1);
    const [client] = trace.filter(({ kind, name }) => kind === 'client' && name === `invoke_agent ${CHAT}`);
    expect(client).toMatchObject({ service: 'fame', parentSpanId: '' });
    const calls = trace.filter(({ name }) => name === 'run_turn_stream');
    const [call, served] = [
      calls.find(({ kind }) => kind === 'client')!,
      calls.find(({ kind }) => kind === 'server')!,
    ];
    expect(call.parentSpanId).toBe(client!.spanId);
    expect(served).toMatchObject({ service: 'fame-agents', parentSpanId: call.spanId });
    const hops = trace.filter(({ name, parentSpanId }) => name === 'route' && parentSpanId === call.spanId);
    expect(hops).toHaveLength(1);
    expect(hops[0]).toMatchObject({ service: 'fame-sentinel', attributes: { 'fame.address': CHAT } });
    expect(turn).toMatchObject({ service: 'fame-agents', parentSpanId: served.spanId });
    const chats = trace.filter(({ name }) => name.startsWith('chat '));
    const tools = trace.filter(({ name }) => name === 'execute_tool calculator');
    expect([chats.length, tools.length]).toEqual([2, 2]);
    for (const span of [...chats, ...tools]) expect(span.parentSpanId).toBe(turn.spanId);
    expect(chats.map(({ attributes }) => attributes['gen_ai.response.finish_reasons'])).toEqual([
      ['tool_calls'],
      ['stop'],
    ]);
    for (const { attributes } of chats) {
      expect(attributes).toMatchObject({
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'openai-compatible',
        'gen_ai.agent.name': CHAT,
        'gen_ai.usage.input_tokens': expect.any(Number),
        'gen_ai.usage.output_tokens': expect.any(Number),
        'gen_ai.response.time_to_first_chunk': expect.any(Number),
      });
    }
    expect(turn.attributes['gen_ai.conversation.id']).toBe(client!.attributes['gen_ai.conversation.id']);
    expect(trace.filter(({ isError }) => isError)).toEqual([]);
  });

  test('is one connected trace through a door, which continues that of its client', async () => {
    const model = await twoTools();
    const sentinel = await startOurSentinel({ env: { ...receiver.env, FAME_DOORS: 'http' } });
    await startAgent(sentinel.url, { model, env: receiver.env });
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    const response = await fetch(`${sentinel.http}/agents/${CHAT}/run_turn`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
      },
      body: JSON.stringify({ user_message: 'Calculate.' }),
    });
    expect(await response.json()).toMatchObject({ text: 'Both are done.' });
    await receiver.span(({ name, kind }) => kind === 'server' && name.startsWith('POST '));
    await receiver.span(({ name, kind }) => kind === 'internal' && name === `invoke_agent ${CHAT}`);
    const trace = await receiver.connectedTrace(traceId, {
      services: ['fame-sentinel', 'fame-agents'],
      known: ['00f067aa0ba902b7'],
    });
    const request = trace.find(({ name }) => name.startsWith('POST '))!;
    expect(request.parentSpanId).toBe('00f067aa0ba902b7');
    expect(request.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.response.status_code': 200,
    });
    expect(trace.filter(({ name }) => name === 'execute_tool calculator')).toHaveLength(2);
    expect(trace.filter(({ name }) => name.startsWith('chat '))).toHaveLength(2);
  });
});

test('a turn that is resumed after kill -9 stays in the trace of its caller and links to its first run', async () => {
  const held = gate();
  let isFirst = true;
  const model = await startModel({
    respond: ({ messages }) => {
      if (messages.at(-1)?.role !== 'tool')
        return callTools({ name: 'calculator', arguments: { expression: '2+3' } });
      if (!isFirst) return 'It is 5.';
      isFirst = false;
      return [held];
    },
  });
  const sentinel = await startOurSentinel({ env: { ...receiver.env, FAME_RESUME_WINDOW_MS: '500' } });
  const options = { model, env: receiver.env, dataDir: temporaryDirectory() };
  const agent = await startAgent(sentinel.url, options);
  const asking = runFame({ url: sentinel.url, env: receiver.env }, ['chat'], 'Calculate.\n');
  await held.reached;
  const first = await receiver.span(({ name }) => name === 'execute_tool calculator');
  await agent.kill();
  const second = await startAgent(sentinel.url, options);
  expect((await asking).output).toContain('It is 5.');
  await second.stop();
  const resumed = await receiver.span(({ attributes }) => attributes['fame.turn.resumed'] === true);
  expect(resumed.traceId).toBe(first.traceId);
  expect(resumed.links).toMatchObject([{ traceId: first.traceId, spanId: first.parentSpanId }]);
  const trace = receiver.trace(first.traceId);
  const client = named(
    trace.filter(({ kind }) => kind === 'client'),
    `invoke_agent ${CHAT}`,
  );
  // The spans that were open in the killed process are lost; their ids are known from the link.
  const lost = trace.filter(({ parentSpanId }) => parentSpanId === resumed.links[0]!.spanId);
  expect(lost.length).toBeGreaterThan(0);
  expect(orphansOf(trace, [resumed.links[0]!.spanId])).toEqual([]);
  const byId = new Map(trace.map((span) => [span.spanId, span]));
  let top = resumed;
  for (let up = byId.get(top.parentSpanId); up; up = byId.get(top.parentSpanId)) top = up;
  expect(top.spanId).toBe(client.spanId);
});

describe('a handoff to an agent of another process', () => {
  /** Serves a team whose one agent hands every message to the chat agent. */
  async function startTeam(sentinel: OurSentinel, modelUrl: string): Promise<Proc> {
    const directory = temporaryDirectory();
    const team = {
      start: 'desk',
      address: 'desk@fame.fabric',
      agents: {
        desk: {
          system_directives: 'You route.',
          functions: [
            {
              name: 'route',
              parameters: { type: 'object', properties: { topic: { type: 'string', enum: ['chat'] } } },
            },
          ],
          function_call: { name: 'route' },
          state_map: {
            function_name: 'route',
            argument_name: 'topic',
            values_map: { chat: { agent: CHAT } },
          },
        },
      },
    };
    // JSON is YAML.
    writeFileSync(join(directory, 'team.yaml'), JSON.stringify(team));
    const proc = startNode(fameArgs('team', 'run', join(directory, 'team.yaml')), {
      name: 'team',
      env: {
        ...receiver.env,
        OTEL_SERVICE_NAME: 'team',
        FAME_DIRECT_ADMISSION_URL: sentinel.url,
        FAME_DATA_DIR: directory,
        OPENAI_API_KEY: API_KEY,
        OPENAI_BASE_URL: modelUrl,
      },
    });
    await proc.waitFor(/ is served through /);
    return proc;
  }

  test('is one connected trace over both', async () => {
    const model = await startModel({
      respond: ({ messages, tools }) => {
        const names = tools?.map((tool) => (tool as { function: { name: string } }).function.name) ?? [];
        if (names.includes('route')) return callTools({ name: 'route', arguments: { topic: 'chat' } });
        return messages.at(-1)?.role === 'tool'
          ? 'It is 5.'
          : callTools({ name: 'calculator', arguments: { expression: '2+3' } });
      },
    });
    const sentinel = await startOurSentinel({ env: receiver.env });
    await startAgent(sentinel.url, { model, env: receiver.env });
    await startTeam(sentinel, model.url);
    const { output } = await runFame(
      { url: sentinel.url, env: { ...receiver.env, FAME_CHAT_ADDRESS: 'desk@fame.fabric' } },
      ['chat'],
      'Calculate.\n',
    );
    expect(output).toContain('It is 5.');
    const turn = await receiver.span(
      ({ name, kind }) => kind === 'internal' && name === `invoke_agent ${CHAT}`,
    );
    await receiver.span(({ name, kind }) => kind === 'internal' && name === 'invoke_agent desk@fame.fabric');
    const handover = await receiver.span(({ attributes }) => attributes['fame.hand_over'] === true);
    expect(handover).toMatchObject({ service: 'team', name: `invoke_agent ${CHAT}` });
    expect(handover.traceId).toBe(turn.traceId);
    const services = ['fame', 'fame-agents', 'fame-sentinel', 'team'];
    const trace = await receiver.connectedTrace(turn.traceId, { services });
    expect(trace.filter(({ parentSpanId }) => parentSpanId === '')).toHaveLength(1);
    expect([...new Set(trace.map(({ service }) => service))].sort()).toEqual(services);
  });
});

test('a tool of an MCP server continues the trace of the agent that calls it', async () => {
  const sentinel = await startOurSentinel({ env: { ...receiver.env, FAME_DOORS: 'mcp' } });
  await startAgent(sentinel.url, { names: ['echo'], env: { ...receiver.env, OTEL_SERVICE_NAME: 'echo' } });
  const model = await startModel({
    respond: ({ messages, tools = [] }) => {
      if (messages.at(-1)?.role === 'tool') return 'Echoed.';
      const names = tools.map((tool) => (tool as { function: { name: string } }).function.name);
      return callTools({
        name: names.find((name) => name.endsWith('echo'))!,
        arguments: { value: 'hello' },
      });
    },
  });
  const dataDir = temporaryDirectory();
  const file = join(dataDir, 'servers.json');
  writeFileSync(file, JSON.stringify({ mcpServers: { fabric: { url: `${sentinel.http}/mcp` } } }));
  await startAgent(sentinel.url, { model, dataDir, env: { ...receiver.env, FAME_MCP_SERVERS: file } });
  const client = await openClient(sentinel.url);
  expect(await client.conversation(CHAT).ask('Echo.')).toBe('Echoed.');
  const tool = await receiver.span(({ name }) => name.startsWith('execute_tool '));
  const served = await receiver.span(({ name }) => name === 'tools/call');
  expect([served.traceId, served.parentSpanId]).toEqual([tool.traceId, tool.spanId]);
  const echo = await receiver.span(({ service, traceId }) => service === 'echo' && traceId === tool.traceId);
  expect(echo).toMatchObject({ kind: 'server', attributes: { 'fame.address': 'echo@fame.fabric' } });
});

test('every attribute of the conventions that we name is in the registry', () => {
  const ours = Object.values(ATTRIBUTE).filter((name) => name.startsWith('gen_ai.'));
  expect(ours.filter((name) => GENAI_REGISTRY[name] === undefined)).toEqual([]);
  expect(
    registryFaults({ 'gen_ai.request.max_tokens': 'stringValue', 'gen_ai.invented': 'intValue' }),
  ).toEqual(['gen_ai.request.max_tokens is stringValue, not int', 'gen_ai.invented is not in the registry']);
});

describe('P21: content', () => {
  const PLANTED = {
    'query token': 'canary-query-token',
    cookie: 'canary-cookie',
    'system prompt': 'canary-system-prompt',
    'user text': 'canary-user-text',
    'tool output': '8675335025927',
    'database URL': 'postgres://canary:canary-db-password@127.0.0.1/db',
    'NATS credentials': 'canary-nats-seed',
    JWT: 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJjYW5hcnkifQ.canary-signature',
    'webhook secret': 'canary-webhook-secret',
    'model answer': 'canary-answer',
  };

  async function runTurns(env: Record<string, string>): Promise<string[]> {
    const model = await startModel({
      respond: (request) => {
        const text = lastUserText(request);
        if (text.includes('fail'))
          return httpError(400, {
            message: `Bad key ${API_KEY} at Error.stack (canary-stack.ts:1:1) for "${text}"`,
          });
        return request.messages.at(-1)?.role === 'tool'
          ? PLANTED['model answer']
          : callTools({ name: 'calculator', arguments: { expression: '8675309*1000003' } });
      },
    });
    const sentinel = await startOurSentinel({ env: { ...receiver.env, ...env, FAME_DOORS: 'http' } });
    const agent = await startAgent(sentinel.url, {
      model,
      env: {
        ...receiver.env,
        ...env,
        DATABASE_URL: PLANTED['database URL'],
        NATS_CREDS: PLANTED['NATS credentials'],
        FAME_SYSTEM_PROMPT: PLANTED['system prompt'],
      },
    });
    const key = localKey(sentinel.dataDir);
    const client = await openClient(sentinel.url, { token: key });
    const conversation = client.conversation(CHAT, { systemPrompt: PLANTED['system prompt'] });
    expect(await conversation.ask(`${PLANTED['user text']} ${PLANTED['database URL']}`)).toBe(
      PLANTED['model answer'],
    );
    await expect(conversation.ask(`fail ${PLANTED['user text']}`)).rejects.toMatchObject({
      code: 'MODEL_REFUSED',
    });
    const params = {
      pushNotificationConfig: { url: 'https://127.0.0.1/', token: PLANTED['webhook secret'] },
    };
    await expect(client.call(CHAT, 'tasks/pushNotification/set', params)).rejects.toThrow();
    for (const authorization of [`Bearer ${key}`, `Bearer ${PLANTED.JWT}`]) {
      await fetch(`${sentinel.http}/agents/${CHAT}/run_turn?token=${PLANTED['query token']}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', cookie: `session=${PLANTED.cookie}`, authorization },
        body: JSON.stringify({ user_message: PLANTED['user text'] }),
      });
    }
    await client.close();
    await agent.stop();
    await sentinel.proc.stop();
    await receiver.span(({ name }) => name.startsWith('POST '));
    return [...Object.values(PLANTED), API_KEY, key, 'canary-stack'].filter((text) =>
      receiver.text.includes(text),
    );
  }

  test('no span has one of 13 planted secrets and texts', async () => {
    expect(await runTurns({})).toEqual([]);
    const failed = receiver.spans.filter(({ isError }) => isError);
    expect(failed.map(({ attributes }) => attributes['error.type'])).toContain('MODEL_REFUSED');
  });

  test('with content, spans have the texts of the conversation, and no keys', async () => {
    const found = await runTurns({ OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: 'true' });
    expect(found.sort()).toEqual(
      [
        PLANTED['system prompt'],
        PLANTED['user text'],
        PLANTED['tool output'],
        PLANTED['model answer'],
        PLANTED['database URL'],
      ].sort(),
    );
  });
});

test('a collector that cannot be reached changes nothing for users, and a faulty setting is refused', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_BSP_SCHEDULE_DELAY: '50' };
  const model = await startModel();
  const sentinel = await startOurSentinel({ env });
  await startAgent(sentinel.url, { model, env });
  const { output, code } = await runFame({ url: sentinel.url, env }, ['chat'], 'Hello.\n');
  expect([output, code]).toEqual([expect.stringContaining('re: Hello.'), 0]);
  const faulty = await runFame(
    { url: sentinel.url, env: { ...env, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' } },
    ['chat'],
    'Hello.\n',
  );
  expect([faulty.output, faulty.code]).toEqual([expect.stringContaining('OTEL_EXPORTER_OTLP_PROTOCOL'), 2]);
});

test('a sentinel without a collector loads no module of OpenTelemetry', async () => {
  const count = `import m from 'node:module'; process.on('exit', () => console.error('modules: ' + Object.keys(m._cache).filter((k) => k.includes('opentelemetry')).length))`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(count)}` };
  const loaded = async (more: Record<string, string>): Promise<number> => {
    const { proc } = await startOurSentinel({ env: { ...env, ...more } });
    await proc.stop();
    return Number(/modules: (\d+)/.exec(proc.output)?.[1]);
  };
  expect(await loaded({})).toBe(0);
  expect(await loaded(receiver.env)).toBeGreaterThan(10);
});
