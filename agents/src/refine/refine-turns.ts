// Runs the turns of a conversation as steps of the refining dialogue. The conversation stores the state of the dialogue, so a restart
// loses no question.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import type { RemoteCall } from '../handoff/handoff.ts';
import { costOf, type PriceTable, priceOf } from '../model/budget.ts';
import type { ModelMessage } from '../model/model.ts';
import { modelOf } from '../model/model-classes.ts';
import { noUsage } from '../model/usage.ts';
import { askWithOptions, REQUEST_OPTIONS } from '../turn/ask-with-options.ts';
import type { TextSource, TurnContext, TurnResult, TurnRunner } from '../turn/turn.ts';
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
  /** The agent that receives the goals once they are confirmed. Its answer follows them. */
  handoffTo?: { agent: string; with?: readonly ('goals' | 'goal_sentence')[] | undefined } | undefined;
  /** Reaches the agent of `handoffTo`. */
  remote?: RemoteCall | undefined;
  /** Amount at which a warning is logged, once in a conversation. The conversation host enforces the limit itself. */
  warning?: { atUsd: number; prices: PriceTable } | undefined;
  /** Reply to an empty first message. */
  greeting?: string | undefined;
  log?: Logger | undefined;
}

const GREETING = 'What would you like to achieve? Tell me in your own words.';

/** State of a conversation between its turns. */
interface Kept {
  dialogue: RefineState;
  usd: number;
}

export class RefineTurns implements TurnRunner {
  readonly #options: RefineTurnsOptions;

  constructor(options: RefineTurnsOptions) {
    this.#options = options;
  }

  readonly accepts = REQUEST_OPTIONS;

  get modelName(): string {
    return modelOf(this.#options.models, 'smart').name;
  }

  /** Runs one turn. @throws what `refineStep` throws */
  async run(turn: TurnContext): Promise<TurnResult> {
    const kept = turn.state as Kept | undefined;
    if (!kept && turn.userMessage.trim() === '') {
      await turn.emitText(this.#options.greeting ?? GREETING, RUNNER);
      const usage = noUsage();
      return { usage, model: this.modelName, messages: messagesOf(turn), taskState: 'input-required' };
    }
    const step = await this.#step(kept?.dialogue, turn);
    await turn.emitText(textOfRefine(step.turn), RUNNER);
    const isDone = step.turn.kind === 'goals';
    if (step.turn.kind === 'goals') await this.#handoff(step.turn.goals, turn);
    return {
      usage: step.usage,
      model: step.model,
      messages: messagesOf(turn),
      state: { dialogue: step.state, usd: this.#warn(kept?.usd ?? 0, step, turn) } satisfies Kept,
      taskState: isDone ? 'completed' : 'input-required',
    };
  }

  #step(state: RefineState | undefined, turn: TurnContext): Promise<RefineStep> {
    const { models, maxIterations, finishWords, retry, log } = this.#options;
    const { messages, signal } = turn;
    const ask = askWithOptions(turn.ask, turn.options);
    const note = messages
      .flatMap((message) => (message.role === 'system' ? [message.content] : []))
      .join('\n');
    return refineStep(
      state,
      messages.filter((message) => message.role !== 'system'),
      {
        models,
        note,
        now: turn.acceptedAt,
        askModel: ask,
        signal,
        maxIterations,
        finishWords,
        retry,
        ...(log ? { log } : {}),
      },
    );
  }

  async #handoff(goals: RefinedGoals, turn: TurnContext): Promise<void> {
    const { handoffTo, remote } = this.#options;
    if (!handoffTo) return;
    turn.assertLive();
    if (!remote)
      throw new FabricError(
        'ROUTE_UNKNOWN',
        `The goals go to ${handoffTo.agent}, and this agent cannot reach other nodes.`,
      );
    const all = { goals: [...goals.goals], goal_sentence: goals.goalSentence };
    const extras = Object.fromEntries((handoffTo.with ?? []).map((name) => [name, all[name]]));
    const events = remote({
      id: `${turn.conversationId}/${turn.turnId}/goals`,
      target: handoffTo.agent,
      userMessage: [goals.goalSentence, ...goals.goals.map((goal) => `- ${goal}`)].join('\n'),
      history: [],
      extras,
      meta: { handoffs: 1, visited: [], modelCalls: 0 },
      signal: turn.signal,
    });
    let isFirst = true;
    for await (const event of events) {
      if (event.text === '' || (event.type === 'done' && !isFirst)) continue;
      await turn.emitText(isFirst ? `\n\n${event.text}` : event.text, RUNNER);
      isFirst = false;
    }
  }

  /** Returns the cost of the conversation so far; logs a warning at the threshold. */
  #warn(before: number, step: RefineStep, turn: TurnContext): number {
    const { warning, log = silentLog } = this.#options;
    const price = warning && priceOf(warning.prices, step.model);
    const usd = before + (price ? costOf(step.usage, price) : 0);
    if (warning && before < warning.atUsd && usd >= warning.atUsd) {
      log.warn('a conversation is close to its budget', { conversationId: turn.conversationId, usd });
    }
    return usd;
  }
}

const RUNNER: TextSource = { from: 'runner' };

/** Messages of the turn for the history: the message of the person and the text of the dialogue. */
const messagesOf = ({ messages, text }: TurnContext): ModelMessage[] => [
  messages.at(-1)!,
  { role: 'assistant', content: text },
];
