// Metrics of the turns of a process, for Prometheus. Loaded only if FAME_METRICS_PORT is set. Names of the GenAI semantic
// conventions where they have one. Labels have values of this software or of its configuration, never a text of a caller or a model.
import { type Clock, isErrorCode } from '@fame-fabric/shared';
import { Counter, Gauge, Histogram, type Registry } from '@fame-fabric/shared/metrics';
import type { ChatModel, ModelRequest } from '../model/model.ts';
import type {
  ModelCallObservation,
  ObservedOutcome,
  ToolCallObservation,
  TurnObservation,
  TurnObserver,
} from './turn-observer.ts';

/** Values of the label with the name of a model. A program may ask any number of models. */
const MAX_MODELS = 64;
const OTHER = '_OTHER';

/** Buckets of the conventions: `gen_ai.client.operation.duration` and `gen_ai.client.token.usage`. */
const SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS = [
  1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864,
];
const JOURNAL_SECONDS = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

const MODEL_LABELS = ['gen_ai_operation_name', 'gen_ai_provider_name', 'gen_ai_request_model'] as const;

const run = <T>(work: () => T): T => work();

function makeMetrics(registry: Registry) {
  const registers = [registry];
  const counter = <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name, help, labelNames: [...labelNames], registers });
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
  ) => new Histogram<L>({ name, help, buckets: [...buckets], labelNames: [...labelNames], registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers });
  return {
    turns: counter('fame_turns_total', 'Turns that ended, by outcome.', ['outcome']),
    turnErrors: counter('fame_turn_errors_total', 'Turns that failed or were cancelled, by code.', ['code']),
    turnSeconds: histogram(
      'fame_turn_duration_seconds',
      'From the acceptance of a turn to its end.',
      SECONDS,
    ),
    firstToken: histogram(
      'fame_turn_first_token_seconds',
      'From the acceptance of a turn to the first text or call of a model.',
      SECONDS,
    ),
    resumed: counter('fame_turns_resumed_total', 'Turns of an earlier process that this one continued.'),
    waiting: gauge('fame_inbox_turns', 'Turns that wait to run.'),
    running: gauge('fame_running_turns', 'Turns that run.'),
    tokens: counter('fame_tokens_total', 'Tokens of turns that ended: prompts (in) and answers (out).', [
      'direction',
    ]),
    cost: counter('fame_cost_total', 'Cost of turns that ended, if it is known.', ['currency']),
    callSeconds: histogram(
      'gen_ai_client_operation_duration_seconds',
      'Duration of requests to models, with their retries.',
      SECONDS,
      [...MODEL_LABELS, 'error_type'],
    ),
    firstChunk: histogram(
      'gen_ai_client_operation_time_to_first_chunk_seconds',
      'From a request to a model to the first text or call of its reply.',
      SECONDS,
      MODEL_LABELS,
    ),
    callTokens: histogram('gen_ai_client_token_usage', 'Tokens of requests to models.', TOKENS, [
      ...MODEL_LABELS,
      'gen_ai_token_type',
    ]),
    modelErrors: counter('fame_model_errors_total', 'Requests to models that failed, by code.', ['code']),
    retries: counter('fame_model_retries_total', 'Requests to models that were sent again, by reason.', [
      'reason',
    ]),
    tools: counter('fame_tool_calls_total', 'Runs of tools, by result.', ['result']),
    toolSeconds: histogram('fame_tool_duration_seconds', 'Duration of runs of tools.', SECONDS),
    journalSeconds: histogram(
      'fame_journal_write_duration_seconds',
      'From an append to the journal to its confirmation.',
      JOURNAL_SECONDS,
    ),
    journalRows: counter('fame_journal_rows_total', 'Rows that were written to the journal.'),
    journalChars: counter(
      'fame_journal_characters_total',
      'Characters of text that were written to the journal.',
    ),
    journalErrors: counter('fame_journal_errors_total', 'Appends to the journal that failed.'),
  };
}

type Metrics = ReturnType<typeof makeMetrics>;

export class TurnMetrics implements TurnObserver {
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #models = new Set<string>();

  constructor(registry: Registry, clock: Clock) {
    this.#clock = clock;
    this.#metrics = makeMetrics(registry);
  }

  journalWritten(ms: number, rows: number, chars: number, error?: unknown): void {
    const { journalSeconds, journalRows, journalChars, journalErrors } = this.#metrics;
    journalSeconds.observe(ms / 1_000);
    if (error !== undefined) {
      journalErrors.inc();
      return;
    }
    journalRows.inc(rows);
    journalChars.inc(chars);
  }

  accepted({ isResumed }: { readonly isResumed: boolean }): TurnObservation {
    const metrics = this.#metrics;
    let isRunning = false;
    metrics.waiting.inc();
    if (isResumed) metrics.resumed.inc();
    return {
      trace: undefined,
      run,
      started() {
        isRunning = true;
        metrics.waiting.dec();
        metrics.running.inc();
      },
      modelCalled: (_step, model, request) => this.#modelCalled(model, request),
      toolStarted: () => this.#toolStarted(),
      ended(outcome, isReleased) {
        if (isRunning) metrics.running.dec();
        else metrics.waiting.dec();
        if (isReleased) metrics.turns.inc({ outcome: 'released' });
        else countTurn(metrics, outcome);
      },
    };
  }

  #modelCalled(model: ChatModel, request: ModelRequest): ModelCallObservation {
    const { callSeconds, callTokens, firstChunk, modelErrors, retries } = this.#metrics;
    const labels = {
      gen_ai_operation_name: 'chat',
      gen_ai_provider_name: model.name === 'offline' ? 'fame_fabric' : 'openai',
      gen_ai_request_model: this.#modelLabel(request.model ?? model.name),
    };
    const elapsed = this.#stopwatch();
    return {
      run,
      firstToken: () => firstChunk.observe(labels, elapsed()),
      waiting: ({ reason }) => retries.inc({ reason }),
      replied({ usage }) {
        callSeconds.observe({ ...labels, error_type: '' }, elapsed());
        if (usage === undefined) return;
        callTokens.observe({ ...labels, gen_ai_token_type: 'input' }, usage.prompt_tokens);
        callTokens.observe({ ...labels, gen_ai_token_type: 'output' }, usage.completion_tokens);
      },
      failed(error) {
        const code = codeOf(error);
        callSeconds.observe({ ...labels, error_type: code }, elapsed());
        modelErrors.inc({ code });
      },
    };
  }

  #toolStarted(): ToolCallObservation {
    const { tools, toolSeconds } = this.#metrics;
    const elapsed = this.#stopwatch();
    const end = (result: 'ok' | 'error' | 'stopped'): void => {
      tools.inc({ result });
      toolSeconds.observe(elapsed());
    };
    return { run, finished: ({ ok }) => end(ok ? 'ok' : 'error'), failed: () => end('stopped') };
  }

  /** Seconds since this call. */
  #stopwatch(): () => number {
    const startedAt = this.#clock.monotonic();
    return () => (this.#clock.monotonic() - startedAt) / 1_000;
  }

  #modelLabel(name: string): string {
    if (this.#models.size < MAX_MODELS) this.#models.add(name);
    return this.#models.has(name) ? name : OTHER;
  }
}

function countTurn(metrics: Metrics, outcome: ObservedOutcome): void {
  const { state, error, usage, cost, first_token_ms, duration_ms } = outcome;
  metrics.turns.inc({ outcome: state });
  if (error !== undefined) metrics.turnErrors.inc({ code: isErrorCode(error.code) ? error.code : OTHER });
  if (duration_ms !== null) metrics.turnSeconds.observe(duration_ms / 1_000);
  if (first_token_ms !== null) metrics.firstToken.observe(first_token_ms / 1_000);
  metrics.tokens.inc({ direction: 'in' }, usage.prompt_tokens);
  metrics.tokens.inc({ direction: 'out' }, usage.completion_tokens);
  if (cost !== 'unknown') metrics.cost.inc({ currency: cost.currency }, cost.amount);
}

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' && isErrorCode(code) ? code : OTHER;
}
