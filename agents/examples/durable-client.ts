import { connect } from '@fame-fabric/client/node';

const [text = 'Hello', resume] = process.argv.slice(2);
const client = await connect();
const conversation = client.conversation('guide@fame.fabric', {
  id: 'trip-1',
  isResumed: resume === 'again',
});

for await (const event of conversation.stream(text)) {
  if (event.type === 'text') process.stdout.write(event.text);
}
console.log();
await client.close();
