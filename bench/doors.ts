// `npm run bench-doors [-- --quick]`: goal D9, the cost of the doors on the port of the sentinel.
//
// 1. The delay of a chunk through the OpenAI door, beside that of our client library: streams at 50 chunks/s through one sentinel and one
//    agent. The two take turns.
// 2. The calls of a bystander, a native node with an agent of its own: their 99th percentile alone, beside these streams through our client,
//    beside them through the door, and with requests of nearly 1 MiB too, which the door parses. The same through the doors of `fame
//    doors`, a process of its own.
//
// Streams and bodies take most of a machine with two cores, so every program on it is slower beside them. So the bystander beside the door
// is compared with the same streams through our client, and with the same bodies posted to a port of another process that parses them.
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type AppCell, type AppKind, ApplicationBench } from './application.ts';
import { answerCommands, Child } from './child.ts';
import { median } from './median.ts';

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const { quick } = flags;

const STREAMS: AppCell = {
  conversations: 200,
  chunks: quick ? 75 : 200,
  perSecond: 50,
  turnsEach: 1,
  spreadMs: 1_000,
  isTogether: true,
  alternations: quick ? 1 : 3,
};
/** Clients that post large bodies, each of which waits between two of them. */
const POSTERS = 2;
const POST_EVERY_MS = 250;
const ALONE_MS = 2_000;

/** A chat with a history of nearly 1 MiB, whose last message orders one chunk. */
function largeBody(nth: number): string {
  const messages: { role: string; content: string }[] = [];
  for (let n = 0; n < 500; n++) {
    messages.push({ role: 'user', content: `${nth} ${n} ${'What do you think? '.repeat(52)}` });
    messages.push({ role: 'assistant', content: `${n} ${'I think it is fine. '.repeat(48)}` });
  }
  messages.push({ role: 'user', content: JSON.stringify({ chunks: 1, perSecond: 0, nonce: nth }) });
  return JSON.stringify({ model: 'chat@fame.fabric', messages });
}

const post = (url: string, body: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sending = request(url, { method: 'POST', headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    sending.on('error', reject).end(body);
  });

type PosterCommand = { cmd: 'post'; url: string; ms: number } | { cmd: 'serve' };

// The posters, and the port that only parses, are separate processes.
answerCommands<PosterCommand>(async (command) => {
  if (command.cmd === 'serve') {
    const server = createServer(async (incoming, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk);
      JSON.parse(String(Buffer.concat(chunks)));
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }
  const bodies = Array.from({ length: 4 }, (_, nth) => largeBody(nth));
  const statuses: Record<number, number> = {};
  const endAt = performance.now() + command.ms;
  const poster = async (first: number): Promise<void> => {
    for (let nth = first; performance.now() < endAt; nth += POSTERS) {
      const status = await post(command.url, bodies[nth % bodies.length]!);
      statuses[status] = (statuses[status] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, POST_EVERY_MS));
    }
  };
  await Promise.all(Array.from({ length: POSTERS }, (_, nth) => poster(nth)));
  return statuses;
});

async function measureStreams(): Promise<void> {
  const here = fileURLToPath(import.meta.url);
  const bench = await ApplicationBench.start(['fabric', 'door', 'remote door']);
  const bystander = new Child<{ cmd: string }>(fileURLToPath(new URL('bursts.ts', import.meta.url)), [
    'bystander',
    bench.urlOf('fabric'),
  ]);
  const [posters, parser] = [new Child<PosterCommand>(here), new Child<PosterCommand>(here)];
  try {
    await bystander.request({ cmd: 'ready' });
    // A warm-up round, so that the code of all processes is compiled.
    await bench.run({ ...STREAMS, conversations: 50, chunks: 50, alternations: 1 });
    const { fabric, door, 'remote door': remote } = await bench.run(STREAMS);
    const failed = [...fabric, ...door, ...remote].reduce((sum, row) => sum + row.failed, 0);
    const added = (figure: 'delayP50' | 'delayP99' | 'firstP50'): number =>
      median(door.map((row, round) => row[figure] - fabric[round]![figure]));
    for (const [name, rows] of Object.entries({ native: fabric, door, 'remote door': remote })) {
      const at = (figure: 'delayP50' | 'delayP99' | 'firstP50' | 'cpuUs'): string =>
        median(rows.map((row) => row[figure])).toFixed(1);
      print(
        `${name.padEnd(11)} chunk ${at('delayP50')} ms, p99 ${at('delayP99')} ms | first chunk ${at('firstP50')} ms | CPU ${at('cpuUs')} us/turn`,
      );
    }
    record('failed turns', failed, 0, '');
    record('delay added to a chunk, p50', added('delayP50'), 2, ' ms');
    print(`  figure  delay added to a chunk, p99: ${added('delayP99').toFixed(1)} ms`);
    print(`  figure  delay added to the first chunk, p50: ${added('firstP50').toFixed(1)} ms`);

    /** Runs `load` and returns the 99th percentile of the bystander's calls during it. */
    const beside = async (load: () => Promise<unknown>): Promise<number> => {
      await bystander.request({ cmd: 'begin' });
      await load();
      return bystander.request<number>({ cmd: 'end' });
    };
    const streams = (kind: AppKind): Promise<unknown> => bench.runOnce(kind, STREAMS);
    const parserUrl = `http://127.0.0.1:${await parser.request<number>({ cmd: 'serve' })}/`;
    const statuses: Record<number, number> = {};
    const bodies = async (url: string, kind: AppKind): Promise<void> => {
      const ms = STREAMS.spreadMs + (1_000 * STREAMS.chunks) / STREAMS.perSecond;
      const [counts] = await Promise.all([
        posters.request<Record<number, number>>({ cmd: 'post', url, ms }),
        streams(kind),
      ]);
      for (const [status, count] of Object.entries(counts))
        statuses[Number(status)] = (statuses[Number(status)] ?? 0) + count;
    };
    const cases = {
      alone: () => new Promise((resolve) => setTimeout(resolve, ALONE_MS)),
      'streams, native': () => streams('fabric'),
      'streams, door': () => streams('door'),
      'streams, native; bodies elsewhere': () => bodies(parserUrl, 'fabric'),
      'streams and bodies, door': () => bodies(bench.urlOf('door'), 'door'),
      'streams and bodies, remote door': () => bodies(bench.urlOf('remote door'), 'remote door'),
    };
    const p99: Record<string, number[]> = {};
    for (let round = 0; round < STREAMS.alternations; round++) {
      for (const [name, load] of Object.entries(cases)) {
        p99[name] ??= [];
        p99[name].push(await beside(load));
      }
    }
    for (const [name, times] of Object.entries(p99)) {
      print(`bystander, ${name.padEnd(34)} p99 ${median(times).toFixed(2)} ms`);
    }
    print(`answers to the bodies: ${JSON.stringify(statuses)}`);
    const ratio = (name: keyof typeof cases, to: keyof typeof cases): number =>
      median(p99[name]!.map((ms, round) => ms / p99[to]![round]!));
    record(
      'p99 of a bystander, streams through the door, to native streams',
      ratio('streams, door', 'streams, native'),
      2,
    );
    record(
      'the same with bodies of 1 MiB, to native streams with bodies elsewhere',
      ratio('streams and bodies, door', 'streams, native; bodies elsewhere'),
      2,
    );
    const remoteRatio = ratio('streams and bodies, remote door', 'streams, native; bodies elsewhere');
    print(`  figure  the same through the doors of another process: ${remoteRatio.toFixed(2)}x`);
    print(
      `  figure  streams and bodies through the door, to alone: ${ratio('streams and bodies, door', 'alone').toFixed(2)}x`,
    );
  } finally {
    for (const child of [bystander, posters, parser]) child.stop();
    await bench.stop();
  }
}

const print = (line: string): void => console.log(line);
let isBroken = false;

/** Prints a figure beside its goal. The run fails if it is above twice the goal, which leaves room for the noise of a busy machine. */
function record(label: string, value: number, goal: number, unit = 'x'): void {
  if (value > 2 * goal) isBroken = true;
  const verdict = value <= goal ? 'met' : 'MISSED';
  print(`  goal    ${label.padEnd(72)} ${value.toFixed(2)}${unit}  (<= ${goal}${unit}) ${verdict}`);
}

if (process.send === undefined) {
  const startedAt = performance.now();
  await measureStreams();
  print(`in ${((performance.now() - startedAt) / 1_000).toFixed(0)} s`);
  process.exit(isBroken ? 1 : 0);
}
