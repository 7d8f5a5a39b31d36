// Runs the turns of a conversation as steps of the refining dialogue. The state of the dialogue goes into the journal with each
// turn, and so does each answer of the model, so neither a restart nor a crash loses a question or asks the model twice.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import type { RemoteCall } from '../handoff/hand-over.ts';
import { costOf, type PriceTable } from '../model/budget.ts';
import { collectReply } from '../model/collect-reply.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import { modelOf } from '../model/model-classes.ts';
import { roughUsage } from '../model/usage.ts';
import type { Collect } from '../strategy/ask-with-repair.ts';
import type { TurnEvent, TurnInput, TurnResult, TurnRunner } from '../turn/turn.ts';
import { TurnRelay } from '../turn/turn-relay.ts';
import {
  type RefinedGoals,
  type RefineOptions,
  type RefineState,
  type RefineStep,
  refineStep,
  textOfRefine,
} from './refine.ts';

export interface RefineTurnsOptions
  extends Pick<RefineOptions, 'models' | 'maxIterations' | 'finishWords' | 'retry'> {
  /** Who gets the goals once they are settled; its answer follows them. */
  handOverTo?: { agent: string; with?: readonly ('goals' | 'goal_sentence')[] };
  /** Reaches the agent of `handOverTo`. */
  remote?: RemoteCall;
  /** Says once in a conversation that so much was spent. The limit itself is the conversation host's business. */
  warning?: { atUsd: number; prices: PriceTable };
  /** What a person is asked who opens a conversation without a word. */
  greeting?: string;
  log?: Logger;
}

const GREETING = 'What would you like to achieve? Tell me in your own words.';

/** What a conversation keeps between its turns. */
interface Kept {
  dialogue: RefineState;
  usd: number;
}

export class RefineTurns implements TurnRunner {
  readonly #options: RefineTurnsOptions;

  constructor(options: RefineTurnsOptions) {
    this.#options = options;
  }

  get modelName(): string {
    return modelOf(this.#options.models, 'smart').name;
  }

  /** @throws what `refineStep` throws */
  async *run(input: TurnInput): AsyncGenerator<TurnEvent, TurnResult, void> {
    const kept = input.state as Kept | undefined;
    const [user] = input.draft.messages;
    const turn = (text: string): ModelMessage[] => [user!, { role: 'assistant', content: text }];
    if (!kept && input.userMessage.trim() === '') {
      const text = this.#options.greeting ?? GREETING;
      yield { type: 'text', text };
      const usage: Usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
      return { text, usage, model: this.modelName, messages: turn(text), taskState: 'input-required' };
    }
    const step = yield* this.#step(kept?.dialogue, input);
    let text = textOfRefine(step.turn);
    yield { type: 'text', text };
    const isDone = step.turn.kind === 'goals';
    if (step.turn.kind === 'goals') {
      for await (const more of this.#handOver(step.turn.goals, input)) {
        text += more;
        yield { type: 'text', text: more };
      }
    }
    return {
      text,
      usage: step.usage,
      model: step.model,
      messages: turn(text),
      state: { dialogue: step.state, usd: this.#warn(kept?.usd ?? 0, step, input) } satisfies Kept,
      taskState: isDone ? 'completed' : 'input-required',
    };
  }

  async *#step(
    state: RefineState | undefined,
    input: TurnInput,
  ): AsyncGenerator<TurnEvent, RefineStep, void> {
    const { models, maxIterations, finishWords, retry, log } = this.#options;
    const window = input.draft.request();
    const note = window.flatMap((message) => (message.role === 'system' ? [message.content] : [])).join('\n');
    const relay = new TurnRelay();
    const left = new AbortController();
    const result = refineStep(
      state,
      window.filter((message) => message.role !== 'system'),
      {
        models,
        note,
        collect: told(relay, input),
        signal: AbortSignal.any([input.signal, left.signal]),
        ...(maxIterations === undefined ? {} : { maxIterations }),
        ...(finishWords ? { finishWords } : {}),
        ...(retry ? { retry } : {}),
        ...(log ? { log } : {}),
      },
    );
    const over = result.then(
      () => relay.end(),
      (error: unknown) => relay.fail(error),
    );
    try {
      yield* relay.events();
    } finally {
      if (!relay.isOver) left.abort(new FabricError('ABORTED', 'The turn was left'));
      await over;
    }
    return result;
  }

  async *#handOver(goals: RefinedGoals, input: TurnInput): AsyncGenerator<string, void, void> {
    const { handOverTo, remote } = this.#options;
    if (!handOverTo) return;
    if (!remote)
      throw new FabricError('ROUTE_UNKNOWN', `The goals go to ${handOverTo.agent}, which cannot be reached`);
    const all = { goals: [...goals.goals], goal_sentence: goals.goalSentence };
    const extras = Object.fromEntries((handOverTo.with ?? []).map((name) => [name, all[name]]));
    const events = remote({
      id: `${input.conversationId}/${input.turnId}/goals`,
      target: handOverTo.agent,
      userMessage: [goals.goalSentence, ...goals.goals.map((goal) => `- ${goal}`)].join('\n'),
      history: [],
      extras,
      meta: { hops: 1, visited: [], modelCalls: 0 },
      signal: input.signal,
    });
    let isFirst = true;
    for await (const event of events) {
      if (event.text === '' || (event.type === 'done' && !isFirst)) continue;
      yield isFirst ? `\n\n${event.text}` : event.text;
      isFirst = false;
    }
  }

  /** What the conversation has cost by now. */
  #warn(before: number, step: RefineStep, input: TurnInput): number {
    const { warning, log = silentLog } = this.#options;
    const price =
      warning && Object.hasOwn(warning.prices, step.model) ? warning.prices[step.model] : undefined;
    const usd = before + (price ? costOf(step.usage, price) : 0);
    if (warning && before < warning.atUsd && usd >= warning.atUsd) {
      log.warn('a conversation comes near its budget', { conversationId: input.conversationId, usd });
    }
    return usd;
  }
}

/** Tells of each request and answer, and brings back the answers that were recorded before a crash. */
function told(relay: TurnRelay, input: TurnInput): Collect {
  let step = 0;
  return async (model, request, signal) => {
    const recorded = input.recorded?.[step];
    step += 1;
    if (recorded) {
      const { message, finish } = recorded;
      const usage = recorded.usage ?? roughUsage(request, message);
      return { message, finish, usage, behind: new Map() };
    }
    await relay.event({ type: 'model_called', step, model: model.name, messages: request.messages });
    const reply = await collectReply(model, request, signal);
    const { message, finish, usage } = reply;
    await relay.event({ type: 'model_replied', step, model: model.name, message, finish, usage });
    return reply;
  };
}
