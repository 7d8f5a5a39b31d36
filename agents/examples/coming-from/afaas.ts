import { offlineModel } from '@fame-fabric/agents';
import {
  ChatMessage,
  ChatPrompt,
  defineFunction,
  defineStrategies,
  defineStrategy,
  functionFromJsonSchema,
  refineUserContext,
} from '@fame-fabric/agents/strategy';
import { z } from 'zod';

const userMessage = ChatMessage.user('I need help with my math homework.');
const assistantMessage = ChatMessage.assistant('Of course! What topic are you struggling with?');

const solveQuadratic = defineFunction({
  name: 'solve_quadratic',
  parameters: z.object({ a: z.number(), b: z.number(), c: z.number() }),
});
const properties = ['m', 'b', 'x'].map((name) => ({ name, type: 'float' as const }));
const solveLinear = functionFromJsonSchema({ name: 'solve_linear', parameters: properties });

const helpWithHomework = defineStrategy({
  name: 'help_with_homework',
  modelClass: 'default',
  input: z.object({ question: z.string() }),
  build: ({ question }) =>
    new ChatPrompt({
      messages: [userMessage, assistantMessage, ChatMessage.user(question)],
      functions: [solveQuadratic, solveLinear],
      defaultFunctionCall: 'solve_quadratic',
    }),
});

const models = { default: offlineModel() };
const strategies = defineStrategies(helpWithHomework);
const question = 'Please solve the quadratic equation where a = 1, b = -3 and c = 2.';
const response = await strategies.execute('help_with_homework', { question }, { models });
const { name, args } = response.parsed;
console.log(name, args);

const loop = refineUserContext('I want a web site', { models });
const first = await loop.next('');
if (!first.done && first.value.kind === 'questions') console.log(first.value.questions[0]?.text);
