// A program in an ES module. It is compiled against the packed packages, and asks the chat agent at the URL of its argument.
import {
  ChatAgent,
  defineAgent,
  offlineModel,
  operation,
  runAgents,
  ToolSet,
  tool,
} from '@fame-fabric/agents';
import { defineFunction } from '@fame-fabric/agents/strategy';
import { loadTeam } from '@fame-fabric/agents/team';
import { scriptedModel } from '@fame-fabric/agents/testing';
import { defineJob } from '@fame-fabric/agents/workflow';
import { type Client, connect as connectInBrowser } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { startSentinel } from '@fame-fabric/sentinel';
import { ERRORS, isFabricError } from '@fame-fabric/shared';
import { createLog } from '@fame-fabric/shared/node';
import { inProcess } from 'fame-fabric';
import { z } from 'zod';

export const shopAgent = new ChatAgent({
  address: 'shop@example.org',
  model: offlineModel(),
  tools: new ToolSet([
    tool({ name: 'price', description: 'Price of a lamp', parameters: z.object({}), execute: () => 12 }),
  ]),
});
export const mathAgent = defineAgent({
  address: 'math@example.org',
  operations: {
    add: operation({ params: z.object({ x: z.number(), y: z.number() }), run: ({ x, y }) => x + y }),
  },
});
export const surface = [
  runAgents,
  defineFunction,
  loadTeam,
  scriptedModel,
  defineJob,
  connectInBrowser,
  startSentinel,
  ERRORS,
  createLog,
];

await using fabric = await inProcess({ agents: [mathAgent] });
const sum: number = await fabric.client.agent<typeof mathAgent>('math@example.org').add({ x: 1, y: 2 });
if (sum !== 3) throw new Error(`1 + 2 is ${sum}`);

const client: Client = await connect({ url: process.argv[2] ?? '' });
try {
  const answer: string = await client.conversation('chat@fame.fabric').ask('What is 6 times 7?');
  console.log(answer);
  await client.agent('missing@example.org').call('any');
} catch (error) {
  if (!isFabricError(error, 'NO_ROUTE')) throw error;
  console.log(error.code);
} finally {
  await client.close();
}
