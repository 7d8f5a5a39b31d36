import { connect } from '@fame-fabric/client/node';

const client = await connect();
const conversation = client.conversation('chat@fame.fabric', { maxHistoryLength: 10 });

console.log(await conversation.ask('Hello! My name is Ada.'));
for await (const event of conversation.stream('What is 6 times 7?')) {
  if (event.type === 'text') process.stdout.write(event.text);
}
console.log();
console.log(await conversation.ask('What is my name?'));

await conversation.end();
await client.close();
