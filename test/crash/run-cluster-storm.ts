// `npm run cluster-storm [-- --kills 1000 --nats 100 --database 100 --pauses 80 --partitions 150 --conversations 50 --seed 1]`: K2 to K4 in
// full. Kills, pauses and cuts off the processes of a cluster at random moments during conversations, and reports lost and doubled turns.
import { parseArgs } from 'node:util';
import { runClusterStorm } from './cluster-storm.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    life: { type: 'string', default: '1200' },
    nats: { type: 'string', default: '100' },
    database: { type: 'string', default: '100' },
    pauses: { type: 'string', default: '80' },
    pause: { type: 'string', default: '60000' },
    partitions: { type: 'string', default: '150' },
    conversations: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
  },
});

const { faults, ...report } = await runClusterStorm({
  kills: Number(values.kills),
  meanLifeMs: Number(values.life),
  natsKills: Number(values.nats),
  databaseStops: Number(values.database),
  pauses: Number(values.pauses),
  longestPauseMs: Number(values.pause),
  partitions: Number(values.partitions),
  longestPartitionMs: 20_000,
  conversations: Number(values.conversations),
  seed: Number(values.seed),
  onProgress: (line) => process.stderr.write(`${line}\n`),
});
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
process.stdout.write(`${faults.length} lost or doubled\n`);
for (const fault of faults.slice(0, 30)) process.stdout.write(`  ${fault}\n`);
process.exit(faults.length === 0 ? 0 : 1);
