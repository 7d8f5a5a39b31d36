// A program in a CommonJS module that loads the packages with `require`.
import agents = require('@fame-fabric/agents');
import client = require('@fame-fabric/client/node');
import shared = require('@fame-fabric/shared');

async function main(url: string): Promise<void> {
  const connection = await client.connect({ url });
  const answer: string = await connection.conversation('chat@fame.fabric').ask('What is 6 times 7?');
  console.log(answer);
  await connection.close();
}

export const model = agents.offlineModel();
main(process.argv[2] ?? '').catch((error: unknown) => {
  console.error(shared.isFabricError(error) ? error.code : error);
  process.exitCode = 1;
});
