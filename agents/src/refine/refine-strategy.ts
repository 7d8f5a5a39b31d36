// The prompt strategy of the refining dialogue. An intake agent turns a vague wish into goals that others can work on: it asks until
// nothing is unclear, has its understanding confirmed, and then hands the goals over. The dialogue around it is in `refine.ts`.
import { z } from 'zod';
import type { ModelMessage } from '../model/model.ts';
import { ChatMessage } from '../strategy/chat-message.ts';
import { ChatPrompt } from '../strategy/chat-prompt.ts';
import { localDay } from '../strategy/local-day.ts';
import { defineStrategy } from '../strategy/prompt-strategy.ts';
import { defineFunction } from '../tools/schema/completion-function.ts';

/** A question or a request to confirm. */
export interface RefineEntry {
  /** `q1`, `q2` … for questions, `c1` … for requests to confirm. */
  readonly id: string;
  readonly kind: 'question' | 'confirmation';
  readonly text: string;
}

export interface RefinedGoals {
  /** The goal in one sentence. */
  readonly goalSentence: string;
  readonly goals: readonly string[];
}

/** State of a refining dialogue. Plain JSON, so that a conversation can keep it. */
export interface RefineState {
  readonly phase: 'new' | 'refining' | 'confirming' | 'done';
  /** The goal as it was understood last. */
  readonly goal: string;
  readonly entries: readonly RefineEntry[];
  /** Answers of the model so far. */
  readonly iterations: number;
  readonly result?: RefinedGoals;
}

export const newRefineState = (): RefineState => ({ phase: 'new', goal: '', entries: [], iterations: 0 });

const refineRequirements = defineFunction({
  name: 'refine_requirements',
  description:
    'Say how you understand the goal now, and ask what is still unclear. Ask only what changes the work.',
  parameters: z.object({
    reformulated_goal: z
      .string()
      .min(1)
      .describe('The goal as you understand it now, in the words of the person'),
    questions: z.array(z.string().min(1)).min(1).max(5).describe('One fact each'),
  }),
});

const requestConfirmation = defineFunction({
  name: 'request_confirmation',
  description: 'Use it when nothing is unclear any more: have your understanding of the goal confirmed.',
  parameters: z.object({
    reformulated_goal: z.string().min(1).describe('The goal as you understand it, complete'),
    question: z.string().min(1).describe('Asks whether that is right; can be answered with yes'),
  }),
});

const validateRequirements = defineFunction({
  name: 'validate_requirements',
  description: 'Use it when the person has confirmed the goal: hand it over to those who will work on it.',
  parameters: z.object({
    goal_sentence: z.string().min(1).describe('The goal in one sentence'),
    goals: z
      .array(z.string().min(1))
      .min(1)
      .max(10)
      .describe('What has to be true at the end, one item each'),
  }),
});

const DIRECTIVE = `You take requests in. Others will do the work later, and they will see nothing but the goal that you hand over.
Find out what the person really wants: the purpose, the limits, what a good result is. Do not do the work yourself.
Answer with function calls only. Ask first; when nothing is unclear, ask for confirmation; hand over what was confirmed.
Speak the language of the person.`;

const refineInput = z
  .object({
    /** The wish of the person, as the first message. */
    user_objective: z.string().min(1).optional(),
    /** The dialogue so far, oldest first; the last message is the person's. */
    messages: z.array(z.custom<ModelMessage>()).min(1).optional(),
    /** The person has just confirmed the goal. @default false */
    confirmed: z.boolean().optional(),
    /** Note from the sender of the person, for the prompt. @default none */
    note: z.string().optional(),
  })
  .refine(({ user_objective: objective, messages }) => (objective ?? messages) !== undefined, {
    message: 'needs user_objective or messages',
  });

/** One step of the refining dialogue. `refineStep` and `refineUserContext` run the whole dialogue. */
export const refineStrategy = defineStrategy({
  name: 'refine_user_context',
  modelClass: 'smart',
  input: refineInput,
  exactlyOne: true,
  initialState: newRefineState,
  build({ user_objective: objective, messages = [], confirmed = false, note = '' }, state, env) {
    const today = localDay(env.now);
    return new ChatPrompt({
      messages: [
        ChatMessage.system(`${DIRECTIVE}\nToday is ${today}.${note ? `\nKeep in mind: ${note}` : ''}`),
        ...(objective === undefined ? [] : [ChatMessage.user(objective)]),
        ...messages,
      ],
      functions: [refineRequirements, requestConfirmation, validateRequirements],
      functionCall:
        state.phase === 'new' ? 'refine_requirements' : confirmed ? 'validate_requirements' : 'auto',
      defaultFunctionCall: confirmed ? 'validate_requirements' : 'refine_requirements',
    });
  },
  accept([call], state) {
    if (state.phase !== 'new' || call?.name === 'refine_requirements') return undefined;
    return 'nothing has been asked yet; call refine_requirements first';
  },
  reduce(state, call): RefineState {
    const iterations = state.iterations + 1;
    const next = (kind: RefineEntry['kind'], texts: readonly string[]): readonly RefineEntry[] => {
      const before = state.entries.filter((entry) => entry.kind === kind).length;
      const made = texts.map((text, i) => ({ id: `${kind[0]}${before + i + 1}`, kind, text }));
      return [...state.entries, ...made];
    };
    switch (call.name) {
      case 'refine_requirements': {
        const { reformulated_goal: goal, questions } = call.args;
        return { phase: 'refining', goal, entries: next('question', questions), iterations };
      }
      case 'request_confirmation': {
        const { reformulated_goal: goal, question } = call.args;
        return { phase: 'confirming', goal, entries: next('confirmation', [question]), iterations };
      }
      case 'validate_requirements': {
        const { goal_sentence: goalSentence, goals } = call.args;
        const result = { goalSentence, goals };
        return { phase: 'done', goal: goalSentence, entries: state.entries, iterations, result };
      }
    }
  },
});
