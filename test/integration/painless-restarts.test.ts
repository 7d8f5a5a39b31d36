// X7: an agent that is killed and starts again at once, in the same or in another process, causes no error that its callers cannot
// solve by a retry, and never loses its address. FAME_RESTARTS sets the number of restarts: `.ci/long restarts` makes 50.
import { afterAll, describe, expect, test } from 'vitest';
import { startOurAgent } from '../kit/commands.ts';
import { startPeerAgent } from '../kit/naylence.ts';
import { closeLinks } from '../kit/our-node.ts';
import { restartAgent } from '../kit/restarts.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const ROUNDS = Number(process.env.FAME_RESTARTS ?? 2);
const ADDRESS = 'math@fame.fabric';

afterAll(closeLinks);

const dataDir = temporaryDirectory();
const cases: [string, (sentinel: OurSentinel, round: number) => ReturnType<typeof startOurAgent>][] = [
  [
    'our agent, the same data directory',
    ({ url }) => startOurAgent({ url, env: { FAME_DATA_DIR: dataDir } }, 'math'),
  ],
  ['our agent, another data directory', ({ url }) => startOurAgent({ url }, 'math')],
  [
    'our agent with the key, another data directory',
    ({ url, dataDir: keys }) =>
      startOurAgent({ url, env: { FAME_ADMISSION_TOKEN_FILE: `${keys}/token` } }, 'math'),
  ],
  [
    'an agent of naylence, the same id',
    ({ url }) => startPeerAgent('math', { url, address: ADDRESS, salt: 'x7' }),
  ],
  [
    'an agent of naylence, another id',
    ({ url }, round) => startPeerAgent('math', { url, address: ADDRESS, salt: `x7-${round}` }),
  ],
];

describe.concurrent('X7', () => {
  test.each(cases)('%s', { timeout: 60_000 + ROUNDS * 15_000 }, async (name, start) => {
    const sentinel = await startOurSentinel();
    const { url } = sentinel;
    const report = await restartAgent({
      url,
      address: ADDRESS,
      rounds: ROUNDS,
      start: (round) => start(sentinel, round),
    });
    console.info(`X7: ${name}: ${JSON.stringify(report)}`);
    expect(report.rounds).toBe(ROUNDS);
  });
});
