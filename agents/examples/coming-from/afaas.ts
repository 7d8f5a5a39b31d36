import { offlineModel } from '@fame-fabric/agents';
import {
  ChatMessage,
  ChatPrompt,
  defineFunction,
  defineStrategies,
  defineStrategy,
  functionFromJsonSchema,
  Role,
  refineStrategy,
  refineUserContext,
} from '@fame-fabric/agents/strategy';
import { z } from 'zod';

const userMessage = ChatMessage.of({ role: Role.USER, content: 'I need help with my math homework.' });
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

const explain = defineStrategy({
  name: 'explain',
  modelClass: 'default',
  input: z.object({ topic: z.string() }),
  build: ({ topic }) => new ChatPrompt({ messages: [ChatMessage.user(`Explain ${topic} in one sentence.`)] }),
  parse: (text) => ({ words: text.split(' ') }),
});

const models = { default: offlineModel() };
const strategies = defineStrategies(helpWithHomework, explain, refineStrategy);
const question = 'Please solve the quadratic equation where a = 1, b = -3 and c = 2.';
const response = await strategies.execute('help_with_homework', { question }, { models });
const { name, args } = response.parsed;
console.log(name, args);
const { parsed } = await strategies.execute('explain', { topic: 'algebra' }, { models });
console.log(parsed.words.length > 0);

const user_objective = 'I want a web site';
const step = await strategies.execute('refine_user_context', { user_objective }, { models });
console.log(step.parsed.name);

const loop = refineUserContext(user_objective, { models });
const first = await loop.next('');
if (!first.done && first.value.kind === 'questions') console.log(first.value.questions[0]?.text);
