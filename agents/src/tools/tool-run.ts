// Runs the tool calls of one reply. Eager tools start at once, the others when the reply is whole. The number of concurrent calls is
// limited, and each has a signal and a deadline. Outcomes are in the order of the calls. The late result of a tool that ignores its
// signal is dropped.
import { type Clock, FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { closestMatch, LONGEST_TIMER_MS, timeText } from '@fame-fabric/shared/internal';
import type { Outbound } from '../agent/operation.ts';
import { noLink, ScopedLink } from '../agent/scoped-link.ts';
import type { Budget } from '../model/budget.ts';
import type { ParsedToolCall } from '../model/stream/parse-arguments.ts';
import { needsApproval } from './approval-rule.ts';
import type { CallResult, MakeCall } from './make-call.ts';
import { checkArguments } from './schema/completion-function.ts';
import type { AnyTool, ToolContext } from './tool.ts';
import {
  APPROVAL_UNAVAILABLE,
  asJson,
  cutResult,
  outcomeContent,
  outcomeOfResult,
  safeText,
  type ToolFault,
  type ToolOutcome,
} from './tool-outcome.ts';

export interface ExecuteOptions {
  /** Every open call gets the outcome `aborted` when it aborts. */
  signal: AbortSignal;
  conversationId?: string | undefined;
  budget?: Budget | undefined;
  /** Calls other agents for the tools. @default each use fails with LINK_MISSING */
  link?: Outbound | undefined;
  /** Receives the text that tools show to the user. */
  emit?: ((text: string, call: ParsedToolCall) => void) | undefined;
  /** Names of tools that the caller of the turn runs. Only their calls with invalid arguments reach the run, which refuses them. */
  foreignNames?: ReadonlySet<string> | undefined;
  /** Makes each call; may return a recorded result. @default runs the tool */
  makeCall?: MakeCall | undefined;
}

export interface RunLimits {
  maxParallel: number;
  defaultTimeoutMs: number;
  maxResultChars: number;
  toUserKey: string;
}

/** Duration from which a synchronous tool is logged as blocking the event loop, in ms. */
const BLOCKING_MS = 200;

type Verdict = { ok: true; value: unknown } | { ok: false; error: ToolFault };

export class ToolRun {
  readonly #outcomes: ToolOutcome[] = [];
  readonly #started: Promise<void>[] = [];
  /** Calls that wait for the end of the reply. */
  readonly #waiting: ParsedToolCall[] = [];
  readonly #failures: unknown[] = [];
  /** Calls that wait for a free slot. */
  readonly #queue: (() => void)[] = [];
  /** Ends each running call. */
  readonly #open = new Set<(reason: unknown) => void>();
  /** Aborts with the signal of the options, or when a call could not be recorded. */
  readonly #abort = new AbortController();
  #running = 0;
  readonly #tools: ReadonlyMap<string, AnyTool>;
  readonly #limits: RunLimits;
  readonly #options: ExecuteOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onAbort = (): void => this.#stop(this.#options.signal.reason);

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
    const { signal } = options;
    if (signal.aborted) this.#onAbort();
    else signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Aborts when the run stops early. Concurrent work, such as reading the reply, should stop with it. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Takes the next call of the reply. An eager tool starts now, any other one in `finish`. */
  add(call: ParsedToolCall): void {
    if (this.#tools.get(call.name)?.eager) this.#start(call);
    else this.#waiting.push(call);
  }

  /** Call it at the end of the reply. Runs the waiting calls and resolves with all outcomes. @throws what `makeCall` throws */
  async finish(): Promise<ToolOutcome[]> {
    try {
      if (this.#failures.length === 0) for (const call of this.#waiting.splice(0)) this.#start(call);
      await Promise.all(this.#started);
    } finally {
      this.#options.signal.removeEventListener('abort', this.#onAbort);
    }
    if (this.#failures.length > 0) throw this.#failures[0];
    return this.#outcomes.toSorted((a, b) => a.index - b.index);
  }

  /** Call it when the reply failed. Stops the run and resolves, once no call runs any more, with the first error. */
  async fail(error: unknown): Promise<unknown> {
    this.#failures.push(error);
    this.#stop(error);
    await this.finish().catch(() => undefined);
    return this.#failures[0];
  }

  #start(call: ParsedToolCall): void {
    const running = this.#run(call).catch((error: unknown) => {
      // A call that cannot be recorded must not continue.
      this.#failures.push(error);
      this.#stop(error);
    });
    this.#started.push(running);
  }

  get #isStopped(): boolean {
    return this.#abort.signal.aborted;
  }

  #stop(reason: unknown): void {
    if (this.#isStopped) return;
    this.#abort.abort(reason);
    for (const end of [...this.#open]) end(reason);
    for (const proceed of this.#queue.splice(0)) proceed();
  }

  async #run(call: ParsedToolCall): Promise<void> {
    const fault = this.#refusal(call);
    if (!fault) await this.#acquireSlot();
    try {
      this.#outcomes.push(await this.#make(call, fault));
    } finally {
      if (!fault) this.#releaseSlot();
    }
  }

  async #make(call: ParsedToolCall, fault: ToolFault | undefined): Promise<ToolOutcome> {
    const { makeCall, emit: emitText } = this.#options;
    let outcome: ToolOutcome | undefined;
    const execute = async (emit: (text: string) => void): Promise<CallResult> => {
      const started = this.#clock.monotonic();
      const refusal = fault ?? (!makeCall && this.#needsApproval(call) ? APPROVAL_UNAVAILABLE : undefined);
      const verdict: Verdict = refusal
        ? { ok: false, error: refusal }
        : this.#isStopped
          ? aborted
          : await this.#execute(call, emit);
      outcome = this.#outcomeOf(call, verdict, this.#clock.monotonic() - started);
      return { ok: outcome.ok, content: outcomeContent(outcome) };
    };
    const result = makeCall
      ? await makeCall({
          call,
          willRun: !fault && !this.#isStopped,
          isIdempotent: this.#tools.get(call.name)?.idempotent,
          needsApproval: () => this.#needsApproval(call),
          execute,
        })
      : await execute((text) => emitText?.(text, call));
    return outcome ?? outcomeOfResult(call, result);
  }

  /** The fault of a call that cannot run. */
  #refusal(call: ParsedToolCall): ToolFault | undefined {
    const { foreignNames } = this.#options;
    if (!this.#tools.has(call.name) && !foreignNames?.has(call.name)) {
      const names = [...this.#tools.keys(), ...(foreignNames ?? [])];
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

  /** True if a person must approve the call. Never for invalid arguments, because such a call does not run its tool. */
  #needsApproval(call: ParsedToolCall): boolean {
    const { approval } = this.#tools.get(call.name) ?? {};
    if (approval === undefined) return false;
    const onError = (error: unknown): void =>
      this.#logger.warn('an approval rule failed; a person is asked', { tool: call.name, error });
    try {
      const checked = this.#checkedArguments(call);
      return checked.ok && needsApproval(approval, checked.value, onError);
    } catch (error) {
      onError(error);
      return true;
    }
  }

  #checkedArguments(call: ParsedToolCall) {
    const def = this.#tools.get(call.name)!;
    const given = { ...(call.ok ? call.args : {}) };
    if (def.toUser) delete given[this.#limits.toUserKey];
    return checkArguments(def.parameters, def.schema, given);
  }

  /** Waits for a free slot; returns at once if the run has stopped. */
  async #acquireSlot(): Promise<void> {
    this.#running += 1;
    if (this.#running <= this.#limits.maxParallel || this.#isStopped) return;
    await new Promise<void>((resolve) => {
      this.#queue.push(resolve);
    });
  }

  #releaseSlot(): void {
    this.#running -= 1;
    this.#queue.shift()?.();
  }

  async #execute(call: ParsedToolCall, emit: (text: string) => void): Promise<Verdict> {
    const def = this.#tools.get(call.name)!;
    let args: unknown;
    try {
      const checked = this.#checkedArguments(call);
      if (!checked.ok) return fail('invalid_args', checked.error.message);
      args = checked.value;
    } catch (error) {
      // A refinement in the tool's schema threw.
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
      const message = `The tool timed out after ${timeText(timeoutMs)}`;
      if (settle(fail('timeout', message))) controller.abort(new FabricError('TOOL_TIMEOUT', message));
    };
    // A longer timeout than a timer can wait means none.
    const timer = timeoutMs <= LONGEST_TIMER_MS ? this.#clock.after(timeoutMs, onTimeout) : undefined;
    this.#open.add(end);
    const onError = (error: unknown): void => {
      if (!settle(failure(error))) return;
      logger.warn('tool failed', { error });
    };
    const { conversationId, budget, link = noLink } = this.#options;
    const endsAt = this.#clock.monotonic() + timeoutMs;
    const leftMs = (): number => endsAt - this.#clock.monotonic();
    const ctx: ToolContext = {
      signal: controller.signal,
      callId: call.id,
      index: call.index,
      link: new ScopedLink(link, { signal: controller.signal, leftMs }),
      logger,
      emit: (text) => {
        if (!settled && text !== '') emit(text);
      },
      conversationId,
      budget,
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
      const message = 'The tool returned a value that is not JSON';
      return { ...common, ok: false, error: { code: 'failed', message } };
    }
  }
}

const fail = (code: ToolFault['code'], message: string, hint?: string): Verdict => ({
  ok: false,
  error: { code, message, ...(hint === undefined ? {} : { hint }) },
});
const aborted = fail('aborted', 'The call was cancelled before it ended');

function failure(error: unknown): Verdict {
  const hint = (error as { hint?: unknown } | null | undefined)?.hint;
  return fail(
    isFabricError(error) ? error.code : 'failed',
    safeText(error),
    typeof hint === 'string' && hint !== '' ? safeText(hint) : undefined,
  );
}
