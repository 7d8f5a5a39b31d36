// The metrics of turns, as a scraper reads them.
import { FabricError } from '@fame-fabric/shared';
import { Registry } from '@fame-fabric/shared/metrics';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { offlineModel } from '../model/offline/offline-model.ts';
import { scriptedModel } from '../testing.ts';
import { TurnMetrics } from './turn-metrics.ts';
import type { ObservedOutcome, ObservedTurn } from './turn-observer.ts';

const turn: ObservedTurn = {
  id: 'planted-turn',
  agent: 'planted@fame.fabric',
  conversation: 'planted-conversation',
  acceptedAt: 0,
  date: 0,
  traceId: 'planted-trace',
  isResumed: false,
  recordedTrace: undefined,
};
const outcome: ObservedOutcome = {
  state: 'completed',
  usage: { prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 },
  cost: { amount: 0.5, currency: 'USD' },
  model: 'scripted',
  first_token_ms: 150,
  duration_ms: 2_000,
};
const reply = (usage = outcome.usage) => ({
  message: { role: 'assistant' as const, content: 'planted answer' },
  finish: 'stop' as const,
  usage,
});

function makeMetrics() {
  const [registry, clock] = [new Registry(), new ManualClock()];
  const metrics = new TurnMetrics(registry, clock);
  const read = async (): Promise<string[]> =>
    (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const value = async (name: string): Promise<number | undefined> => {
    const line = (await read()).find((one) => one.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  };
  return { clock, metrics, read, value };
}

test('a turn counts by its outcome, with its times, tokens and cost', async () => {
  const { metrics, value } = makeMetrics();
  const observed = metrics.accepted(turn);
  expect([await value('fame_inbox_turns'), await value('fame_running_turns')]).toEqual([1, 0]);
  observed.started();
  expect([await value('fame_inbox_turns'), await value('fame_running_turns')]).toEqual([0, 1]);
  observed.ended(outcome, false);
  expect([await value('fame_inbox_turns'), await value('fame_running_turns')]).toEqual([0, 0]);
  const cancelled = { ...outcome, state: 'cancelled', error: { code: 'TURN_CANCELLED' } } as const;
  metrics.accepted(turn).ended(cancelled, false);
  metrics.accepted({ ...turn, isResumed: true }).ended(outcome, true);
  expect({
    completed: await value('fame_turns_total{outcome="completed"}'),
    cancelled: await value('fame_turns_total{outcome="cancelled"}'),
    released: await value('fame_turns_total{outcome="released"}'),
    errors: await value('fame_turn_errors_total{code="TURN_CANCELLED"}'),
    resumed: await value('fame_turns_resumed_total'),
    in: await value('fame_tokens_total{direction="in"}'),
    out: await value('fame_tokens_total{direction="out"}'),
    cost: await value('fame_cost_total{currency="USD"}'),
    seconds: await value('fame_turn_duration_seconds_sum'),
    firstToken: await value('fame_turn_first_token_seconds_count'),
    waiting: await value('fame_inbox_turns'),
  }).toEqual({
    completed: 1,
    cancelled: 1,
    released: 1,
    errors: 1,
    resumed: 1,
    in: 200,
    out: 40,
    cost: 1,
    seconds: 4,
    firstToken: 2,
    waiting: 0,
  });
});

test('requests to models have the names of the GenAI conventions', async () => {
  const { clock, metrics, value } = makeMetrics();
  const observed = metrics.accepted(turn);
  const call = observed.modelCalled(1, scriptedModel([], { name: 'gpt-x' }), { messages: [] });
  clock.advance(100);
  call.firstToken();
  clock.advance(900);
  call.waiting({ reason: 'rate_limited', waitMs: 1, attempt: 2, attempts: 3 });
  call.replied(reply());
  const failing = observed.modelCalled(2, scriptedModel([], { name: 'gpt-x' }), { messages: [] });
  failing.failed(new FabricError('MODEL_TIMEOUT', 'planted text'));
  observed.modelCalled(3, offlineModel(), { messages: [] }).failed(new Error('planted text'));
  const model = 'gen_ai_operation_name="chat",gen_ai_provider_name="openai",gen_ai_request_model="gpt-x"';
  expect({
    first: await value(`gen_ai_client_operation_time_to_first_chunk_seconds_sum{${model}}`),
    whole: await value(`gen_ai_client_operation_duration_seconds_sum{${model},error_type=""}`),
    failed: await value(
      `gen_ai_client_operation_duration_seconds_count{${model},error_type="MODEL_TIMEOUT"}`,
    ),
    input: await value(`gen_ai_client_token_usage_sum{${model},gen_ai_token_type="input"}`),
    output: await value(`gen_ai_client_token_usage_sum{${model},gen_ai_token_type="output"}`),
    errors: await value('fame_model_errors_total{code="MODEL_TIMEOUT"}'),
    others: await value('fame_model_errors_total{code="_OTHER"}'),
    retries: await value('fame_model_retries_total{reason="rate_limited"}'),
  }).toEqual({ first: 0.1, whole: 1, failed: 1, input: 100, output: 20, errors: 1, others: 1, retries: 1 });
});

test('tools and the journal count', async () => {
  const { clock, metrics, value } = makeMetrics();
  const call = { step: 1, index: 0, callId: 'planted-call', name: 'planted_tool' };
  const observed = metrics.accepted(turn);
  const tool = observed.toolStarted(call, { text: 'planted argument' });
  clock.advance(500);
  tool.finished({ ok: true, content: 'planted result' });
  observed.toolStarted(call, {}).finished({ ok: false, content: 'planted result' });
  observed.toolStarted(call, {}).failed(new Error('planted text'));
  metrics.journalWritten(4, 2, 300);
  metrics.journalWritten(6, 1, 50, new Error('planted text'));
  expect({
    ok: await value('fame_tool_calls_total{result="ok"}'),
    error: await value('fame_tool_calls_total{result="error"}'),
    stopped: await value('fame_tool_calls_total{result="stopped"}'),
    seconds: await value('fame_tool_duration_seconds_sum'),
    writes: await value('fame_journal_write_duration_seconds_count'),
    rows: await value('fame_journal_rows_total'),
    characters: await value('fame_journal_characters_total'),
    errors: await value('fame_journal_errors_total'),
  }).toEqual({ ok: 1, error: 1, stopped: 1, seconds: 0.5, writes: 2, rows: 2, characters: 300, errors: 1 });
});

test('no text of a caller or a model is in a metric, and the number of labels is bounded', async () => {
  const { metrics, read } = makeMetrics();
  for (let n = 0; n < 500; n++) {
    const observed = metrics.accepted(turn);
    observed.started();
    const call = observed.modelCalled(1, scriptedModel([], { name: `model-${n}` }), {
      messages: [{ role: 'user', content: 'planted question' }],
    });
    call.replied(reply());
    observed.modelCalled(2, scriptedModel([]), { messages: [] }).failed({ code: `planted-${n}` });
    observed
      .toolStarted({ step: 1, index: 0, callId: 'planted', name: `planted_${n}` }, 'planted')
      .failed('planted');
    observed.ended({ ...outcome, state: 'failed', error: { code: `PLANTED_${n}` } }, false);
  }
  const lines = await read();
  expect(lines.filter((line) => /planted/i.test(line))).toEqual([]);
  expect(new Set(lines.flatMap((line) => line.match(/model="[^"]*"/g) ?? [])).size).toBe(65);
});
