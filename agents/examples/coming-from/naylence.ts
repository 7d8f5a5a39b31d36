import { connect } from '@fame-fabric/client/node';

await using client = await connect();

console.log(await client.call('counter@fame.fabric', 'add', { x: 3, y: 4 }));
for await (const item of client.stream('counter@fame.fabric', 'count', { to: 3 })) console.log(item);
console.log(await client.task('counter@fame.fabric').run('go'));

const conversation = client.conversation('chat@fame.fabric', { systemPrompt: 'You are concise.' });
await conversation.start();
console.log(await conversation.ask('My name is Ada.'));
await conversation.end();
