import { connect } from '@fame-fabric/client/node';

const client = await connect();
const session = client.conversation('orders@fame.fabric', { id: crypto.randomUUID() });
const refusal = { approve: false, note: 'Too late.' };

console.log(await session.ask('My name is Ada.'));
for await (const event of session.stream('Cancel order 1042')) {
  if (event.type === 'text') process.stdout.write(event.text);
  if (event.type === 'tool_call') console.log(event.name, event.args);
  if (event.type === 'approval') await session.answerApproval(event.id, refusal);
}
console.log();
const result = await session.runTurn('What is my name?');
console.log(result.text, result.usage !== undefined);

await session.end();
await client.close();
