// The refining dialogue, one step for each message of the person. `refineStep` takes a state and returns the next one; its only effect
// is model calls. `refineUserContext` is the same as a generator, for programs that run the dialogue themselves.
import type { Clock, Logger } from '@fame-fabric/shared';
import type { AskModel } from '../model/ask-model.ts';
import type { Budget } from '../model/budget.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import type { ModelClasses } from '../model/model-classes.ts';
import type { RetryPolicy } from '../strategy/ask-with-repair.ts';
import { ChatMessage } from '../strategy/chat-message.ts';
import { defineStrategies } from '../strategy/prompt-strategy.ts';
import { StrategyError } from '../strategy/strategy-error.ts';
import { newRefineState, type RefinedGoals, type RefineState, refineStrategy } from './refine-strategy.ts';

export type { RefinedGoals, RefineEntry, RefineState } from './refine-strategy.ts';

export interface RefineOptions {
  models: ModelClasses;
  /** Maximum replies of the model in one dialogue. @default 10 */
  maxIterations?: number | undefined;
  /** Words that confirm, in any case. @default y, yes, done */
  finishWords?: readonly string[] | undefined;
  budget?: Budget | undefined;
  signal?: AbortSignal | undefined;
  retry?: RetryPolicy | undefined;
  /** Note from the sender of the person, for the prompt. */
  note?: string;
  /** Asks the model. @default askModel */
  askModel?: AskModel | undefined;
  /** Date of the prompt, in ms since the epoch. @default the current time */
  now?: number | undefined;
  clock?: Clock;
  log?: Logger;
}

/** Next message of the dialogue. */
export type RefineTurn =
  | {
      readonly kind: 'questions';
      readonly goal: string;
      readonly questions: readonly { id: string; text: string }[];
    }
  | { readonly kind: 'confirmation'; readonly goal: string; readonly id: string; readonly question: string }
  | { readonly kind: 'goals'; readonly goals: RefinedGoals };

export interface RefineStep {
  readonly state: RefineState;
  readonly turn: RefineTurn;
  readonly usage: Usage;
  readonly model: string;
}

/** The dialogue exceeded its rounds. */
export class RefineLimitError extends StrategyError {
  readonly #state: RefineState;

  constructor(state: RefineState) {
    super(
      'REFINE_LIMIT',
      `The dialogue reached its limit of ${state.iterations} rounds without an agreed goal. Raise maxIterations.`,
      {
        details: { iterations: state.iterations },
      },
    );
    this.#state = state;
  }

  /** The goal as it was understood last. It is content, so it is hidden from loggers and the wire. */
  get bestGoal(): string {
    return this.#state.goal;
  }
}

const FINISH_WORDS = ['y', 'yes', 'done'];
const plainWord = (text: string): string =>
  text
    .trim()
    .toLowerCase()
    .replace(/[.!]+$/, '');
const strategies = defineStrategies(refineStrategy);

/**
 * Runs one step. `messages` is the dialogue so far and ends with the person's message.
 * @throws {REFINE_LIMIT} when the dialogue has reached its limit of rounds
 * @throws {PROTOCOL} when the model hands over a goal before it has asked anything, also after a repair
 */
export async function refineStep(
  state: RefineState | undefined,
  messages: readonly ModelMessage[],
  options: RefineOptions,
): Promise<RefineStep> {
  const { maxIterations = 10, finishWords = FINISH_WORDS, note = '', ...execution } = options;
  const before = state ?? newRefineState();
  if (before.iterations >= maxIterations) throw new RefineLimitError(before);
  const said = plainWord(messages.at(-1)?.content ?? '');
  const confirmed = before.phase === 'confirming' && finishWords.some((word) => plainWord(word) === said);
  const response = await strategies.execute(
    'refine_user_context',
    { messages: [...messages], confirmed, note },
    { ...execution, state: before },
  );
  const { state: after, usage, model } = response;
  return { state: after, turn: turnOf(before, after), usage, model };
}

function turnOf(before: RefineState, after: RefineState): RefineTurn {
  if (after.result) return { kind: 'goals', goals: after.result };
  const asked = after.entries.slice(before.entries.length);
  if (after.phase === 'confirming') {
    const { id, text } = asked[0]!;
    return { kind: 'confirmation', goal: after.goal, id, question: text };
  }
  return { kind: 'questions', goal: after.goal, questions: asked.map(({ id, text }) => ({ id, text })) };
}

/** Writes the message for the person. */
export function textOfRefine(turn: RefineTurn): string {
  switch (turn.kind) {
    case 'questions':
      return [turn.goal, '', ...turn.questions.map((question, i) => `${i + 1}. ${question.text}`)].join('\n');
    case 'confirmation':
      return `${turn.goal}\n\n${turn.question}`;
    case 'goals':
      return [turn.goals.goalSentence, '', ...turn.goals.goals.map((goal) => `- ${goal}`)].join('\n');
  }
}

export interface RefineHooks {
  /** Runs once before the first model call and is awaited; throwing ends the dialogue. */
  begin?(objective: string): void | Promise<void>;
  /** Runs once when the goals are settled and is awaited; throwing fails the dialogue. */
  end?(goals: RefinedGoals): void | Promise<void>;
}

/**
 * Runs the dialogue as a generator: yields questions, takes the answer in `next(answer)`, and returns the goals.
 * @throws what `refineStep` throws
 */
export async function* refineUserContext(
  objective: string,
  options: RefineOptions & { hooks?: RefineHooks },
): AsyncGenerator<Exclude<RefineTurn, { kind: 'goals' }>, RefinedGoals, string> {
  const { hooks, ...rest } = options;
  await hooks?.begin?.(objective);
  const messages: ModelMessage[] = [ChatMessage.user(objective)];
  let state: RefineState | undefined;
  for (;;) {
    const step = await refineStep(state, messages, rest);
    state = step.state;
    if (step.turn.kind === 'goals') {
      await hooks?.end?.(step.turn.goals);
      return step.turn.goals;
    }
    const answer = yield step.turn;
    messages.push(ChatMessage.assistant(textOfRefine(step.turn)), ChatMessage.user(answer));
  }
}
