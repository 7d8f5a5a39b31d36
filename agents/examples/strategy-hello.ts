import { offlineModel } from '@fame-fabric/agents';
import { ChatPrompt, defineFunction, defineStrategies, defineStrategy } from '@fame-fabric/agents/strategy';
import { z } from 'zod';

const rateReview = defineFunction({
  name: 'rate_review',
  description: 'Report the mood of a review',
  parameters: z.object({ mood: z.enum(['good', 'neutral', 'bad']) }),
});

const strategies = defineStrategies(
  defineStrategy({
    name: 'rate',
    modelClass: 'default',
    input: z.object({ review: z.string() }),
    build: ({ review }) =>
      new ChatPrompt({ messages: [{ role: 'user', content: review }], functions: [rateReview] }),
  }),
);

const models = { default: offlineModel() };
const { parsed, usage } = await strategies.execute(
  'rate',
  { review: 'A great lamp, I love it!' },
  { models },
);
console.log(`${parsed.name}: ${parsed.args.mood}, for ${usage.total_tokens} tokens`);
