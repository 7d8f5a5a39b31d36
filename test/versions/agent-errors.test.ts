// Errors with codes of an agent's own at the clients of each packed release. A client that does not know such codes gets INTERNAL with
// the agent's message.
import { AgentError, defineAgent, operation } from '@fame-fabric/agents';
import { afterEach, expect, test } from 'vitest';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { stopAll } from '../kit/processes.ts';
import { startOurSentinel } from '../kit/sentinel.ts';
import { LibraryClient } from './fabric.ts';
import { RELEASES, thisVersion, unpack } from './releases.ts';

afterEach(async () => {
  await closeLinks();
  await stopAll();
});

const soldOut = (): never => {
  throw new AgentError('OUT_OF_STOCK', 'No lamps are left', { details: { left: 0 } });
};

const versions = [...RELEASES.map(unpack), thisVersion()];

test.each(versions.map((one) => [one.version, one] as const))(
  'a client of %s',
  async (version, installed) => {
    const { url } = await startOurSentinel();
    const link = await connectLink(url);
    const agent = defineAgent({
      address: 'shop@fame.fabric',
      operations: {
        buy: operation({ run: soldOut }),
        watch: operation({
          async *run() {
            yield 1;
            soldOut();
          },
        }),
      },
    });
    await agent.serve(link);
    const client = await LibraryClient.start(installed, url);
    const knows = version === thisVersion().version;
    const expected = {
      error: knows ? 'OUT_OF_STOCK' : 'INTERNAL',
      message: `${knows ? 'AgentError' : 'FabricError'}: No lamps are left`,
    };
    const address = 'shop@fame.fabric';
    expect(await client.send({ do: 'call', address, method: 'buy' }).outcome).toMatchObject(expected);
    expect(await client.send({ do: 'stream', address, method: 'watch' }).outcome).toMatchObject(expected);
  },
);
