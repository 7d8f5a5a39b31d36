// One connected trace of a turn, from the request of a caller to the last answer, as a collector receives it over OTLP from real
// processes: through the REPL, over a handoff, through a door, and after the agent was killed.
import { callTools, gate, reply } from '@fame-fabric/agents/testing';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runFame } from '../kit/commands.ts';
import { OtlpReceiver, orphansOf, type ReceivedSpan } from '../kit/otlp-receiver.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, startAgent, startModel, stopStack } from '../kit/stack.ts';

let receiver: OtlpReceiver;
beforeEach(async () => {
  receiver = await new OtlpReceiver().listen();
});
afterEach(async () => {
  await stopStack();
  await receiver.close();
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
    const trace = receiver.trace(traceId);
    expect(orphansOf(trace, ['00f067aa0ba902b7'])).toEqual([]);
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
