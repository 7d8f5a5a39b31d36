// A conversation with a model through typed classes, in five steps: messages, functions, a prompt, a strategy, and the typed
// response. It runs with the built-in model: node agents/examples/afaas-walkthrough.ts
import { type ChatModel, isMain, offlineModel } from '@fame-fabric/agents';
import {
  ChatMessage,
  ChatPrompt,
  defineFunction,
  defineStrategies,
  defineStrategy,
} from '@fame-fabric/agents/strategy';
import { z } from 'zod';

// 1. Messages, each with a role.
const userMessage = ChatMessage.user('I need help with my math homework.');
const assistantMessage = ChatMessage.assistant('Of course! What topic are you struggling with?');

// 2. Functions, each with its parameters.
const solveQuadratic = defineFunction({
  name: 'solve_quadratic',
  description: 'Solves the quadratic equation a*x^2 + b*x + c = 0',
  parameters: z.object({ a: z.number(), b: z.number(), c: z.number() }),
});
const solveLinear = defineFunction({
  name: 'solve_linear',
  description: 'Computes y of the linear equation y = m*x + b',
  parameters: z.object({ m: z.number(), b: z.number(), x: z.number() }),
});

// 3. A prompt: the messages and the available functions.
export const promptFor = (question: string) =>
  new ChatPrompt({
    messages: [userMessage, assistantMessage, ChatMessage.user(question)],
    functions: [solveQuadratic, solveLinear],
    defaultFunctionCall: 'solve_quadratic',
  });

// 4. A strategy: the request, and the effect of the answer on the state of the conversation.
export const strategies = defineStrategies(
  defineStrategy({
    name: 'help_with_homework',
    modelClass: 'fast',
    input: z.object({ question: z.string() }),
    initialState: () => ({ solved: 0 }),
    build: ({ question }) => promptFor(question),
    reduce: ({ solved }) => ({ solved: solved + 1 }),
  }),
);

// 5. The response: its first function call is typed by its name.
export async function solve(question: string, model: ChatModel): Promise<{ text: string; solved: number }> {
  const { parsed, state } = await strategies.execute(
    'help_with_homework',
    { question },
    { models: { default: model, fast: model } },
  );
  if (parsed.name === 'solve_linear') {
    const { m, b, x } = parsed.args;
    return { text: `y = ${m * x + b}`, ...state };
  }
  const { a, b, c } = parsed.args;
  const root = Math.sqrt(b * b - 4 * a * c);
  return { text: `x = ${(-b + root) / (2 * a)} or x = ${(-b - root) / (2 * a)}`, ...state };
}

export const QUADRATIC = 'Please solve the quadratic equation where a = 1, b = -3 and c = 2.';
export const LINEAR = 'Please solve the linear equation where m = 2, b = 1 and x = 3.';

if (isMain(import.meta)) {
  console.log(`${promptFor(QUADRATIC)}\n`);
  for (const question of [QUADRATIC, LINEAR]) console.log((await solve(question, offlineModel())).text);
}
