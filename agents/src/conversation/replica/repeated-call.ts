// The attempts to run one call in the process that holds its conversation: this one or another replica. The call is repeated at the
// current holder until it has an answer, and continues where it was interrupted.
import { type Clock, FabricError, isFabricError } from '@fame-fabric/shared';
import { backoffDelayMs, pause } from '@fame-fabric/shared/internal';
import type { OperationContext } from '../../agent/operation.ts';
import { derivedContext } from './derived-context.ts';
import { CallNotPassed } from './pass.ts';
import type { Placement } from './placement.ts';

/** Delays between the attempts of one call. */
const DELAYS = Object.freeze({ minMs: 20, maxMs: 400 });
/** Longest series of failed attempts, in ms. A lease ends sooner, and a replica that takes over answers soon after. */
const GIVE_UP_MS = 30_000;
/** Duration of an attempt that begins a new series, in ms: the holder has worked for the call. */
const LONG_ATTEMPT_MS = 20_000;

export interface RepeatedCallDeps {
  readonly placement: Placement;
  readonly clock: Clock;
}

export class RepeatedCall {
  readonly context: OperationContext;
  /** Id of the conversation in the store; absent for a call that starts one. */
  readonly conversation: string | undefined;
  readonly startedAt: number;
  /** Id of the writer that holds the conversation, if it is not this process. */
  holder: string | undefined;
  readonly #deps: RepeatedCallDeps;
  #attempts = 0;
  /** Monotonic times, in ms: of the first failure of a series, and of the start of the attempt. */
  #failingSince: number | undefined;
  #attemptAt: number;

  constructor(
    deps: RepeatedCallDeps,
    of: { context: OperationContext; conversation: string | undefined; holder: string | undefined },
  ) {
    this.#deps = deps;
    this.context = of.context;
    this.conversation = of.conversation;
    this.holder = of.holder;
    this.startedAt = this.#attemptAt = deps.clock.monotonic();
  }

  /**
   * Id of the call in this attempt. A later one differs, so that the agent does not take it for a call of a link of 0.1.0, which would
   * count its items. A call that starts a conversation keeps its id, because the id decides whether the conversation is the one that
   * it has started.
   */
  get callId(): string {
    const { callId } = this.context;
    const isSame = this.#attempts === 0 || this.conversation === undefined;
    return isSame ? callId : `${callId}~${this.#attempts}`;
  }

  /** Context of an attempt in this process. */
  get here(): OperationContext {
    const { callId, context } = this;
    return callId === context.callId ? context : derivedContext(context, { callId });
  }

  /** Call it with each event of the answer. */
  received(): void {
    this.#failingSince = undefined;
    this.#attempts = Math.min(this.#attempts, 1);
  }

  /**
   * Finds the holder for the next attempt, after a pause.
   * @throws the error of the attempt if it is an answer; {NODE_GONE} if no process answered for long
   */
  async next(error: unknown): Promise<void> {
    const { placement, clock } = this.#deps;
    const { signal } = this.context;
    if (signal.aborted || placement.isStopping) throw answerOf(error);
    const isLost = error instanceof CallNotPassed;
    if (!isLost && !isFabricError(error, 'STORE_CONFLICT')) throw error;
    const now = clock.monotonic();
    if (this.#failingSince === undefined || now - this.#attemptAt > LONG_ATTEMPT_MS) this.#failingSince = now;
    if (now - this.#failingSince > GIVE_UP_MS) throw noAnswer(error);
    const named = isLost ? error.holder : error.details?.holder;
    await pause(clock, backoffDelayMs(this.#attempts, DELAYS), signal);
    this.#attempts += 1;
    this.holder = await this.#find(typeof named === 'string' && named !== this.holder ? named : undefined);
    this.#attemptAt = clock.monotonic();
  }

  async #find(named: string | undefined): Promise<string | undefined> {
    const { placement } = this.#deps;
    if (named !== undefined) return named === placement.own ? undefined : named;
    return this.conversation === undefined ? undefined : placement.elsewhere(this.conversation);
  }
}

/** The error for the caller of an attempt that is not repeated. */
const answerOf = (error: unknown): unknown => (error instanceof CallNotPassed ? noAnswer(error) : error);

const noAnswer = (cause: unknown): FabricError =>
  new FabricError(
    'NODE_GONE',
    'The process that holds the conversation does not answer. Ask again with the same turn id.',
    { cause },
  );
