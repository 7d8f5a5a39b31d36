import { connect } from '@fame-fabric/client/node';
import type { weatherAgent } from './weather-agent.ts';

const client = await connect();
const weather = client.agent<typeof weatherAgent>('weather@fame.fabric');

for await (const { day, city, sky } of weather.forecast({ city: 'Lima', days: 2 })) {
  console.log(`Day ${day} in ${city}: ${sky}`);
}
await client.close();
