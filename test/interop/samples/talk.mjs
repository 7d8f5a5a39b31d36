// npm install @naylence/agent-sdk @naylence/runtime
import { Agent, CLIENT_CONFIG, makeTaskParams } from '@naylence/agent-sdk';
import { withFabric } from '@naylence/runtime';

await withFabric({ rootConfig: CLIENT_CONFIG }, async () => {
  const chat = Agent.remoteByAddress('chat@fame.fabric');
  const id = crypto.randomUUID();
  await chat.startTask(makeTaskParams({ id, payload: { system_prompt: 'You are a concise assistant.' } }));
  console.log(await chat.run_turn(id, 'My name is Ada.'));
  console.log(await chat.run_turn(id, 'What is my name?'));
  await chat.end_conversation(id);
});
process.exit(0);
