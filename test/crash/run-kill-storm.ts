// `npm run kill-storm [-- --agent 1000 --sentinel 300 --replica 300 --conversations 50 --seed 1]`: kills the agent, then the sentinel,
// then one of three replicas, at random moments during conversations, and reports lost and doubled turns. With `--postgres` the
// conversations are in PostgreSQL, and immediate stops of its server, `--store 300`, replace the kills of the sentinel.
import { parseArgs } from 'node:util';
import { PostgresServer } from '../kit/postgres.ts';
import { runStorm, type StormReport } from './storm.ts';

const { values } = parseArgs({
  options: {
    agent: { type: 'string', default: '1000' },
    sentinel: { type: 'string', default: '300' },
    replica: { type: 'string', default: '300' },
    store: { type: 'string', default: '300' },
    postgres: { type: 'boolean', default: false },
    conversations: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
  },
});

/** Longest life of a process: long enough to be killed in every state, its start included. */
const LONGEST_LIFE_MS = { agent: 3_000, sentinel: 4_000, replica: 2_000, store: 4_000 };

/** On a busy machine, an hour of kills can keep an agent unavailable for longer than its clients wait. Their users then retry the turn. */
const REPEATS_FOR_MS = 180_000;

const server = values.postgres ? await PostgresServer.start() : undefined;
const victims = ['agent', server ? 'store' : 'sentinel', 'replica'] as const;
let faults = 0;
for (const victim of victims) {
  const kills = Number(values[victim]);
  if (kills === 0) continue;
  const report: StormReport = await runStorm({
    victim,
    kills,
    conversations: Number(values.conversations),
    longestLifeMs: LONGEST_LIFE_MS[victim],
    seed: Number(values.seed),
    repeatsForMs: REPEATS_FOR_MS,
    ...(server ? { server } : {}),
    onKill(count, turns) {
      if (count % 25 === 0) process.stderr.write(`${victim}: ${count} kills, ${turns} turns\n`);
    },
  });
  faults += report.faults.length;
  const { turns, restarts, repeats, resumed, givenUp, mostAttempts, seconds } = report;
  process.stdout.write(
    `${victim}: ${kills} kills, ${turns} turns in ${report.conversations} conversations at once, ${report.faults.length} lost or doubled; ` +
      `${resumed} turns resumed, ${restarts} texts taken back, ${givenUp} given up, ${repeats} requests sent again, at most ${mostAttempts} model calls a step; ${seconds} s\n`,
  );
  for (const fault of report.faults.slice(0, 20)) process.stdout.write(`  ${fault}\n`);
}
await server?.close();
process.exit(faults === 0 ? 0 : 1);
