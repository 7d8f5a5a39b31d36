import { connect } from '@fame-fabric/client/node';
import type { weatherAgent } from './weather-agent.ts';

const port = process.env.FAME_LISTENER_PORT || '8000';
const client = await connect({ url: `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream` });
const weather = client.agent<typeof weatherAgent>('weather@fame.fabric');

for await (const { day, city, sky } of weather.forecast({ city: 'Lima', days: 2 })) {
  console.log(`Day ${day} in ${city}: ${sky}`);
}
await client.close();
