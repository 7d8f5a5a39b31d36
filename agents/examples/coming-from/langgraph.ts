import { connect } from '@fame-fabric/client/node';

const client = await connect();
const id = crypto.randomUUID();
const thread = client.conversation('orders@fame.fabric', { id });

for await (const event of thread.stream('Cancel order 1042', { turnId: 'turn-1' })) {
  if (event.type === 'text') process.stdout.write(event.text);
  if (event.type === 'approval') await thread.answerApproval(event.id, { approve: true });
}
console.log();
console.log((await thread.history()).map(({ role }) => role));

const threads = client.conversations('orders@fame.fabric');
const { events } = await threads.readEvents(id);
console.log(events.map(({ type }) => type));
const fork = await threads.fork(id, { at: 'turn-1' });
console.log(await fork.ask('What did I ask before?'));

await thread.end();
await fork.end();
await client.close();
