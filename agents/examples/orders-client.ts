import { connect } from '@fame-fabric/client/node';

const [item = 'lamp', id] = process.argv.slice(2);
const client = await connect();
console.log(await client.call('orders@fame.fabric', 'place', { item }, { id }));
await client.close();
