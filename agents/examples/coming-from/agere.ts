import { type ModelMessage, offlineModel, standardTools, ToolSet } from '@fame-fabric/agents';
import {
  Commander,
  defineHandler,
  defineJob,
  type JobRef,
  type ParsedToolCall,
  splitToolStream,
  toolMessage,
  type UserText,
  withReceivingStages,
} from '@fame-fabric/agents/workflow';

const model = offlineModel();
const tools = new ToolSet(standardTools());
const questions = ['What is 6 times 7?', 'exit'];

const userHandler = defineHandler('user_handler', async (_self, userGen: AsyncIterable<UserText>) => {
  for await (const { text } of userGen) process.stdout.write(text);
});

const functionCallHandler = defineHandler(
  'function_call_handler',
  (self, calls: AsyncIterable<ParsedToolCall>) => tools.executeAll(calls, { signal: self.signal }),
);

const handleResponse = defineHandler('handle_response', async (self, context: ModelMessage[]) => {
  const chunks = model.stream({ messages: [...context], tools: tools.specs() }, { signal: self.signal });
  const source = withReceivingStages(chunks, { onStart: () => console.log('GPT:') });
  const answer = splitToolStream(source, { signal: self.signal });
  self.call(userHandler(answer.toUser));
  const outcomes = await self.call(functionCallHandler(answer.toolCalls));
  context.push((await answer.done).message, ...outcomes.map(toolMessage));
  if (outcomes.length > 0) self.putJob(responseJob(context));
});

const responseJob = defineJob('ResponseJob', (_self, context: ModelMessage[]) => handleResponse(context));

const chatJob = (context: ModelMessage[]): JobRef =>
  responseJob(context).on('at_job_end', ({ commander }) => {
    const question = questions.shift()!;
    if (question === 'exit') return commander.requestExit('QUIT');
    console.log(`\nYOU: ${question}`);
    commander.submit(chatJob([...context, { role: 'user', content: question }]));
  });

const out = await new Commander().run(chatJob([{ role: 'user', content: 'What is the weather in Paris?' }]));
console.log(`\n${out}`);
