// The run of all tool calls of one reply: which start when, at most so many at once, each with its own signal and deadline.
// Outcomes are reported in the order of the calls, whatever order they finish in. A tool that ignores its signal is not waited
// for: its late result or error is dropped.

import { type Clock, FabricError, type Logger } from '@fame-fabric/shared';
import { closestMatch } from '@fame-fabric/shared/internal';
import type { Budget } from '../model/budget.ts';
import { untilAborted } from '../model/model-stream.ts';
import type { ParsedToolCall } from '../model/stream/parse-arguments.ts';
import { checkArguments } from './schema/completion-function.ts';
import type { AnyTool, ToolContext } from './tool.ts';
import {
  asJson,
  cutResult,
  safeText,
  type ToolFault,
  type ToolFaultCode,
  type ToolOutcome,
} from './tool-outcome.ts';

export interface ExecuteOptions {
  /** Every open call gets the outcome `aborted` when it aborts. */
  signal: AbortSignal;
  conversationId?: string;
  budget?: Budget;
  /** Takes the text that tools show to the user. */
  emit?: (text: string, call: ParsedToolCall) => void;
  /** Before a tool runs, awaited: the place to write down that it was started. */
  onStart?: (call: ParsedToolCall) => void | Promise<void>;
  /** With each outcome as it comes, awaited before `executeAll` returns. */
  onOutcome?: (outcome: ToolOutcome) => void | Promise<void>;
}

export interface RunLimits {
  maxParallel: number;
  defaultTimeoutMs: number;
  maxResultChars: number;
  toUserKey: string;
}

/** A sync tool that holds the event loop longer than this is named in the log, in milliseconds. */
const BLOCKING_MS = 200;
/** setTimeout's longest time; a longer timeout is none. */
const MAX_TIMER_MS = 2_147_483_647;

type Verdict = { ok: true; value: unknown } | { ok: false; error: ToolFault };

export class ToolRun {
  readonly #outcomes: ToolOutcome[] = [];
  /** Calls that wait for a free place. */
  readonly #queue: (() => void)[] = [];
  /** Tells every running call that the run is over. */
  readonly #open = new Set<(reason: unknown) => void>();
  #running = 0;
  #stopped: { reason: unknown } | undefined;
  readonly #tools: ReadonlyMap<string, AnyTool>;
  readonly #limits: RunLimits;
  readonly #options: ExecuteOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor(
    deps: { tools: ReadonlyMap<string, AnyTool>; clock: Clock; logger: Logger },
    limits: RunLimits,
    options: ExecuteOptions,
  ) {
    this.#tools = deps.tools;
    this.#clock = deps.clock;
    this.#logger = deps.logger;
    this.#limits = limits;
    this.#options = options;
  }

  async all(calls: AsyncIterable<ParsedToolCall> | readonly ParsedToolCall[]): Promise<ToolOutcome[]> {
    const { signal } = this.#options;
    const onAbort = (): void => this.#stop(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const started: Promise<void>[] = [];
    const failures: unknown[] = [];
    const start = (call: ParsedToolCall): void => {
      const run = this.#one(call).catch((error: unknown) => {
        // A hook failed: what cannot be written down must not go on.
        failures.push(error);
        this.#stop(error);
      });
      started.push(run);
    };
    try {
      const waiting: ParsedToolCall[] = [];
      try {
        for await (const call of untilStopped(calls, signal)) {
          if (this.#tools.get(call.name)?.eager) start(call);
          else waiting.push(call);
        }
      } catch (error) {
        // An abort ends the run with outcomes; a broken answer ends it with its error, once nothing runs any more.
        if (!signal.aborted) {
          failures.push(error);
          this.#stop(error);
        }
      }
      if (failures.length === 0) for (const call of waiting) start(call);
      await Promise.all(started);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    if (failures.length > 0) throw failures[0];
    return this.#outcomes.toSorted((a, b) => a.index - b.index);
  }

  #stop(reason: unknown): void {
    if (this.#stopped) return;
    this.#stopped = { reason };
    for (const end of [...this.#open]) end(reason);
    for (const wake of this.#queue.splice(0)) wake();
  }

  async #one(call: ParsedToolCall): Promise<void> {
    const fault = this.#refusal(call);
    let verdict: Verdict;
    let ms = 0;
    if (fault) {
      verdict = { ok: false, error: fault };
    } else {
      await this.#place();
      try {
        if (!this.#stopped) await this.#options.onStart?.(call);
        const started = this.#clock.now();
        verdict = this.#stopped ? aborted : await this.#execute(call);
        ms = this.#clock.now() - started;
      } finally {
        this.#leave();
      }
    }
    const outcome = this.#outcomeOf(call, verdict, ms);
    this.#outcomes.push(outcome);
    await this.#options.onOutcome?.(outcome);
  }

  /** Why a call is not even started. */
  #refusal(call: ParsedToolCall): ToolFault | undefined {
    if (!this.#tools.has(call.name)) {
      const names = [...this.#tools.keys()];
      const near = closestMatch(call.name, names);
      return {
        code: 'unknown_tool',
        message: `There is no tool "${safeText(call.name)}". Tools: ${names.join(', ') || 'none'}`,
        ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
      };
    }
    if (call.ok) return undefined;
    const codes = {
      invalid_json: 'invalid_json',
      truncated: 'invalid_json',
      not_an_object: 'invalid_args',
      too_large: 'too_large',
    } as const;
    return { code: codes[call.error.code], message: call.error.message };
  }

  /** Waits for one of the places; returns at once when the run was stopped. */
  async #place(): Promise<void> {
    this.#running += 1;
    if (this.#running <= this.#limits.maxParallel || this.#stopped) return;
    await new Promise<void>((resolve) => {
      this.#queue.push(resolve);
    });
  }

  #leave(): void {
    this.#running -= 1;
    this.#queue.shift()?.();
  }

  async #execute(call: ParsedToolCall): Promise<Verdict> {
    const def = this.#tools.get(call.name)!;
    const given = { ...(call.ok ? call.args : {}) };
    if (def.toUser) delete given[this.#limits.toUserKey];
    let args: unknown;
    try {
      const checked = checkArguments(def.parameters, def.schema, given);
      if (!checked.ok) return fail('invalid_args', checked.error.message);
      args = checked.value;
    } catch (error) {
      // The tool's own refinement threw.
      this.#logger.warn('tool failed', { tool: call.name, callId: call.id, error });
      return failure(error);
    }

    const { promise, resolve } = Promise.withResolvers<Verdict>();
    const controller = new AbortController();
    const logger = this.#logger.with({ tool: call.name, callId: call.id });
    let settled = false;
    const settle = (verdict: Verdict): boolean => {
      if (settled) return false;
      settled = true;
      timer?.stop();
      this.#open.delete(end);
      resolve(verdict);
      return true;
    };
    const end = (reason: unknown): void => {
      if (settle(aborted)) controller.abort(reason);
    };
    const timeoutMs = def.timeoutMs ?? this.#limits.defaultTimeoutMs;
    const onTimeout = (): void => {
      const message = `The tool timed out after ${timeoutMs} ms`;
      if (settle(fail('timeout', message))) controller.abort(new FabricError('TOOL_TIMEOUT', message));
    };
    const timer = timeoutMs <= MAX_TIMER_MS ? this.#clock.after(timeoutMs, onTimeout) : undefined;
    this.#open.add(end);
    const onError = (error: unknown): void => {
      if (!settle(failure(error))) return;
      logger.warn('tool failed', { error });
    };
    const { conversationId, budget } = this.#options;
    const ctx: ToolContext = {
      signal: controller.signal,
      callId: call.id,
      index: call.index,
      logger,
      emit: (text) => {
        if (!settled && text !== '') this.#options.emit?.(text, call);
      },
      ...(conversationId === undefined ? {} : { conversationId }),
      ...(budget === undefined ? {} : { budget }),
    };
    try {
      const before = performance.now();
      const result: unknown = def.execute(args, ctx);
      const blockedMs = Math.round(performance.now() - before);
      if (blockedMs >= BLOCKING_MS) logger.warn('tool blocked the event loop', { blockedMs });
      Promise.resolve(result).then((value) => settle({ ok: true, value }), onError);
    } catch (error) {
      onError(error);
    }
    return promise;
  }

  #outcomeOf(call: ParsedToolCall, verdict: Verdict, ms: number): ToolOutcome {
    const common = { index: call.index, callId: call.id, name: call.name, ms };
    if (!verdict.ok) return { ...common, ok: false, error: verdict.error };
    const maxChars = this.#tools.get(call.name)?.maxResultChars ?? this.#limits.maxResultChars;
    try {
      const { text, value } = asJson(verdict.value);
      if (text.length <= maxChars) return { ...common, ok: true, value };
      return { ...common, ok: true, value: cutResult(text, maxChars), truncated: true };
    } catch (error) {
      this.#logger.warn('tool failed', { tool: call.name, callId: call.id, error });
      const message = 'The tool returned something that is not JSON';
      return { ...common, ok: false, error: { code: 'failed', message } };
    }
  }
}

const fail = (code: ToolFaultCode, message: string, hint?: string): Verdict => ({
  ok: false,
  error: { code, message, ...(hint === undefined ? {} : { hint }) },
});
const aborted = fail('aborted', 'The call was cancelled before it ended');

function failure(error: unknown): Verdict {
  const hint = (error as { hint?: unknown } | null | undefined)?.hint;
  return fail(
    'failed',
    safeText(error),
    typeof hint === 'string' && hint !== '' ? safeText(hint) : undefined,
  );
}

/** The calls until they end or the signal aborts, also if they never end by themselves. */
async function* untilStopped<T>(
  items: AsyncIterable<T> | readonly T[],
  signal: AbortSignal,
): AsyncGenerator<T> {
  if (Symbol.iterator in items) {
    yield* items;
    return;
  }
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await untilAborted(iterator.next(), signal);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    // Not awaited: a source that waits would hold the run.
    iterator.return?.().then(undefined, () => {});
  }
}
