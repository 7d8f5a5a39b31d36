// `npm run bench-traces [-- --quick]`: the CPU time per message of a sentinel that traces, to one that does not. One request in ten belongs to
// a sampled trace. A collector in this process receives the spans.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { OURS } from './contestants.ts';
import { median } from './median.ts';
import { compareRouters } from './rig.ts';

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const GOAL = 1.1;

let bodies = 0;
const collector = createServer((request, response) => {
  request.resume().on('end', () => {
    bodies += 1;
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
});
await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
const { port } = collector.address() as AddressInfo;
const traced = {
  ...OURS,
  name: 'traced',
  env: { ...OURS.env, OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` },
};
const ratio = median(
  await compareRouters(OURS, traced, {
    sets: flags.quick ? 3 : 5,
    rounds: flags.quick ? 10 : 20,
    warmMessages: 20_000,
    sampledPercent: 10,
  }),
);
collector.close();
console.log(
  `CPU of a traced sentinel: ${ratio.toFixed(2)}x (goal ${GOAL}x), ${bodies} batches of spans received`,
);
process.exitCode = ratio <= GOAL && bodies > 0 ? 0 : 1;
