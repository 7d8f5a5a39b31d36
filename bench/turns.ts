// Goals 17 to 19: whole chat turns through our fabric beside a plain server that keeps its histories in a Map, and floors: the same plain
// server as two processes, and as two processes with a journal.
//
//   node bench/turns.ts            goals 17 to 19, 2 minutes
//   node bench/turns.ts --quick    goals 18 and 19 briefly
//   node bench/turns.ts --cells 10@50,16@0 --rounds 6 --against DIR   some cells; DIR is another checkout with a build
import { parseArgs } from 'node:util';
import {
  APP_KINDS,
  type AppCell,
  type AppKind,
  ApplicationBench,
  type AppRow,
  type AppRows,
} from './application.ts';
import { naylence } from './contestants.ts';
import { median } from './median.ts';

/** Receives the figures. */
export interface Report {
  print(line: string): void;
  goal(number: number, label: string, value: number, limit: number, unit: string, gate: number): void;
}

const PER_SECOND = 50;
const ANY_SPEED = 0;

/** Cells of goal 18, with the limit of the CPU time to plain. */
const PACED_CELLS = [
  { conversations: 1, chunks: 75, spreadMs: 0, alternations: 3, floorRounds: 3, limit: 1.6 },
  { conversations: 10, chunks: 75, spreadMs: 200, alternations: 5, floorRounds: 3, limit: 1.4 },
  { conversations: 100, chunks: 75, spreadMs: 1_000, alternations: 3, floorRounds: 1, limit: 1 },
  { conversations: 400, chunks: 125, spreadMs: 1_500, alternations: 3, floorRounds: 1, limit: 0.9 },
] as const;
/** The short form of goals 18 and 19. */
const QUICK_CELLS = [
  { conversations: 10, chunks: 50, spreadMs: 200, alternations: 3, floorRounds: 0, limit: 1.4 },
  { conversations: 400, chunks: 75, spreadMs: 750, alternations: 1, floorRounds: 0, limit: 0.9 },
] as const;
/** Goal 18b: the number of turns that an agent runs at once by default. */
const MANY: AppCell = {
  conversations: 2_000,
  chunks: 24,
  perSecond: 4,
  turnsEach: 1,
  spreadMs: 3_000,
  isTogether: true,
  alternations: 1,
};
/** Cells of goal 17, with the limit of the CPU time to plain. */
const FAST_CELLS = [
  { conversations: 1, turnsEach: 40, limit: 1.2 },
  { conversations: 16, turnsEach: 8, limit: 0.8 },
  { conversations: 128, turnsEach: 2, limit: 0.7 },
] as const;
const FAST = { chunks: 200, perSecond: ANY_SPEED, spreadMs: 0, alternations: 5 };

/** Contestants that run in the first `floorRounds` alternations of a cell only, because no goal depends on them. */
const FLOORS = ['relay', 'relay+journal'] as const satisfies readonly AppKind[];

const nameOf = ({ conversations, perSecond }: Pick<AppCell, 'conversations' | 'perSecond'>): string =>
  `${conversations} at ${perSecond === ANY_SPEED ? 'any speed' : `${perSecond}/s`}`;

/** Median of the ratios of a contestant to another one, paired within one alternation. */
const ratioOf = (rows: AppRows, figure: keyof AppRow, kind: AppKind = 'fabric', to: AppKind = 'plain') =>
  median(rows[kind].map((row, i) => row[figure] / rows[to][i]![figure]));
/** Median of the differences of fabric and plain, paired within one alternation. */
const addedOf = ({ plain, fabric }: AppRows, figure: keyof AppRow): number =>
  median(fabric.map((row, i) => row[figure] - plain[i]![figure]));
const medianOf = (rows: readonly AppRow[], figure: keyof AppRow): number =>
  median(rows.map((row) => row[figure]));

/** Runs turns at any speed and at a set rate, so that the code of all processes is compiled. */
async function warmUp(bench: ApplicationBench, conversations: number): Promise<void> {
  await bench.run({ ...FAST, conversations: 16, turnsEach: 5, alternations: 1 });
  const paced = { chunks: 75, perSecond: PER_SECOND, turnsEach: 1, spreadMs: 500, alternations: 1 };
  await bench.run({ ...paced, conversations });
}

/** Measures goals 17 to 19, or briefly 18 and 19. */
export async function measureTurns(report: Report, quick: boolean): Promise<Record<string, AppRows>> {
  const bench = await ApplicationBench.start(['plain', ...(quick ? [] : FLOORS), 'fabric']);
  const results: Record<string, AppRows> = {};
  const run = async (cell: AppCell, floorRounds: number): Promise<AppRows> => {
    const rows = await bench.run({ ...cell, alternations: floorRounds });
    const rest = { ...cell, alternations: cell.alternations - floorRounds };
    for (const [kind, more] of Object.entries(await bench.run(rest, ['plain', 'fabric'])))
      rows[kind as AppKind].push(...more);
    results[nameOf(cell)] = rows;
    printCell(report, cell, rows);
    return rows;
  };
  try {
    await warmUp(bench, quick ? 20 : 50);
    for (const { limit, floorRounds, ...paced } of quick ? QUICK_CELLS : PACED_CELLS) {
      const cell = { ...paced, perSecond: PER_SECOND, turnsEach: 1, isTogether: true };
      const rows = await run(cell, floorRounds);
      recordRatio(report, rows, { number: 18, label: `CPU, ${nameOf(cell)}`, figure: 'cpuUs', limit });
      if (cell.conversations === 10) recordDelay(report, rows);
      if (cell.conversations < 400) continue;
      recordRatio(report, rows, {
        number: 18,
        label: `18c: memory, ${nameOf(cell)}`,
        figure: 'rssMb',
        limit: 1.2,
      });
      const once = ratioOf(rows, 'sharedOnceMb').toFixed(2);
      report.print(
        `    figure  18c: the same with the binary of Node counted once: ${once}x${floorsOf(rows, 'sharedOnceMb')}`,
      );
      recordPlaces(report, rows, cell.conversations);
      recordFirstChunk(report, rows, cell);
    }
    if (quick) return results;
    const many = await run(MANY, 0);
    recordPlaces(report, many, MANY.conversations);
    recordFirstChunk(report, many, MANY);
    for (const { limit, ...fast } of FAST_CELLS) {
      const cell = { ...FAST, ...fast };
      const rows = await run(cell, 3);
      recordRatio(report, rows, { number: 17, label: `CPU, ${nameOf(cell)}`, figure: 'cpuUs', limit });
      if (cell.conversations > 1) continue;
      const added = addedOf(rows, 'turnP50');
      report.goal(17, `p50 of a turn, ${nameOf(cell)}, beyond plain`, added, 2, 'ms', 4);
    }
    return results;
  } finally {
    await bench.stop();
  }
}

/** Prints the figures of a chat agent of naylence, if its packages are installed. It runs one turn at a time. */
export async function compareNaylence({ print }: Pick<Report, 'print'>): Promise<void> {
  if (naylence() === undefined) {
    print('naylence is not installed (npm ci --prefix test/interop): its chat agent was not measured');
    return;
  }
  const bench = await ApplicationBench.start(['fabric', 'naylence']);
  const paced = { perSecond: PER_SECOND, turnsEach: 1, spreadMs: 0, alternations: 1 };
  const fast: AppCell = { ...FAST, conversations: 1, turnsEach: 10, alternations: 1 };
  const cells: AppCell[] = [
    fast,
    { ...paced, conversations: 1, chunks: 75 },
    { ...paced, conversations: 10, chunks: 25 },
  ];
  try {
    // A warm-up round, so that the code of all processes is compiled.
    await bench.run(fast);
    for (const cell of cells) {
      const rows = await bench.run(cell);
      printCell({ print }, cell, rows);
      print(
        `turns, ${nameOf(cell)}: naylence takes ${ratioOf(rows, 'cpuUs', 'naylence', 'fabric').toFixed(1)} times as much CPU as ours`,
      );
    }
  } finally {
    await bench.stop();
  }
}

function printCell({ print }: Pick<Report, 'print'>, cell: AppCell, rows: AppRows): void {
  let label = `turns, ${nameOf(cell)}`;
  for (const kind of APP_KINDS.filter((kind) => rows[kind].length > 0)) {
    const at = (figure: keyof AppRow, digits = 0): string => medianOf(rows[kind], figure).toFixed(digits);
    const ms = (figure: keyof AppRow): string => `${at(figure, 1)} ms`;
    const part = (figure: keyof AppRow): string =>
      kind === 'plain'
        ? ''
        : ` (${FLOORS.some((floor) => floor === kind) ? 'relay' : 'sentinel'} ${at(figure)})`;
    print(
      [
        `${label.padEnd(22)} ${kind.padEnd(13)} CPU ${at('cpuUs')} us/turn${part('sentinelCpuUs')}`,
        `turn ${ms('turnP50')}`,
        `first chunk ${ms('firstP50')}, p99 ${ms('firstP99')}`,
        `chunk ${ms('delayP50')}, p99 ${ms('delayP99')}`,
        `${at('events')} events`,
        `${at('peak')} at once`,
        `${at('rssMb')} MB${part('sentinelRssMb')}, ${at('sharedOnceMb')} MB with shared pages once`,
      ].join(' | '),
    );
    label = '';
  }
}

/** Records a goal that is a ratio of fabric to plain, and prints the same ratio of the floors. */
function recordRatio(
  report: Report,
  rows: AppRows,
  goal: { number: number; label: string; figure: keyof AppRow; limit: number },
): void {
  const { number, label, figure, limit } = goal;
  report.goal(number, `${label}, to plain`, ratioOf(rows, figure), limit, 'x', 2 * limit);
  if (FLOORS.some((kind) => rows[kind].length > 0))
    report.print(`    floors  ${label}, to plain${floorsOf(rows, figure)}`);
}

/** The ratios of the floors to plain, if they were measured. */
function floorsOf(rows: AppRows, figure: keyof AppRow): string {
  const measured = FLOORS.filter((kind) => rows[kind].length > 0);
  return measured.map((kind) => `, ${kind} ${ratioOf(rows, figure, kind).toFixed(2)}x`).join('');
}

/** Goal 19. */
function recordDelay({ goal }: Report, rows: AppRows): void {
  goal(19, 'delay added to a chunk, p50, 10 at 50/s', addedOf(rows, 'delayP50'), 3, 'ms', 12);
  goal(19, 'delay added to a chunk, p99, 10 at 50/s', addedOf(rows, 'delayP99'), 15, 'ms', 40);
  goal(19, 'delay added to the first chunk, p50, 10 at 50/s', addedOf(rows, 'firstP50'), 5, 'ms', 15);
}

/** Goal 18b: no turn fails or waits for a place. */
function recordPlaces({ goal }: Report, { fabric }: AppRows, conversations: number): void {
  const failed = fabric.reduce((sum, row) => sum + row.failed, 0);
  goal(18, `18b: failed turns, ${conversations} at once`, failed, 0, '', 0);
  const waiting = Math.max(...fabric.map(({ peak }) => conversations - peak));
  goal(18, `18b: turns that wait for a place, ${conversations} at once`, waiting, 0, '', 0);
}

/** Goal 18b: the time to the first chunk. It has no floors, because a relay does not make a plain server faster. */
function recordFirstChunk({ goal }: Report, rows: AppRows, cell: AppCell): void {
  const label = `18b: first chunk, p50, ${nameOf(cell)}, to plain`;
  goal(18, label, ratioOf(rows, 'firstP50'), 2, 'x', 8);
}

const COMPARED = ['cpuUs', 'turnP50', 'firstP50', 'firstP99', 'delayP50', 'delayP99', 'rssMb'] as const;

/** Measures some cells and prints the ratios of the fabric to the other contestants. */
async function compareCells(cells: readonly AppCell[], kinds: readonly AppKind[], other?: string) {
  const bench = await ApplicationBench.start(kinds, { other });
  try {
    await warmUp(bench, 50);
    for (const cell of cells) {
      const rows = await bench.run(cell);
      printCell({ print: console.log }, cell, rows);
      for (const kind of kinds.filter((kind) => kind !== 'fabric')) {
        const ratios = COMPARED.map(
          (figure) => `${figure} ${ratioOf(rows, figure, 'fabric', kind).toFixed(2)}x`,
        );
        console.log(`    fabric to ${kind}: ${ratios.join(', ')}`);
      }
    }
  } finally {
    await bench.stop();
  }
}

/** A cell `CONVERSATIONS@CHUNKS_PER_SECOND`, with the sizes of the cell of a goal that is most like it. */
function parseCell(text: string, alternations: number): AppCell {
  const [conversations, perSecond] = text.split('@').map(Number) as [number, number];
  if (!(conversations > 0 && perSecond >= 0)) throw new Error(`--cells: "${text}" is not like 10@50 or 16@0`);
  const cell = { conversations, perSecond, alternations };
  if (perSecond === ANY_SPEED)
    return { ...FAST, ...cell, turnsEach: Math.max(2, Math.round(128 / conversations)) };
  const chunks = Math.max(2, Math.round(1.5 * perSecond));
  return { ...cell, chunks, turnsEach: 1, spreadMs: Math.min(1_500, 20 * conversations), isTogether: true };
}

if (import.meta.main) {
  const { values: flags } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      cells: { type: 'string' },
      rounds: { type: 'string', default: '4' },
      with: { type: 'string', default: 'plain,fabric' },
      against: { type: 'string' },
    },
  });
  const from = performance.now();
  if (flags.cells !== undefined) {
    const cells = flags.cells.split(',').map((text) => parseCell(text, Number(flags.rounds)));
    const wanted = flags.with.split(',');
    const unknown = wanted.find((name) => !APP_KINDS.some((kind) => kind === name));
    if (unknown !== undefined) throw new Error(`--with: "${unknown}" is not one of ${APP_KINDS.join(', ')}`);
    if (flags.against !== undefined) wanted.push('other');
    await compareCells(
      cells,
      APP_KINDS.filter((kind) => kind === 'fabric' || wanted.includes(kind)),
      flags.against,
    );
  } else {
    const report: Report = {
      print: console.log,
      goal: (number, label, value, limit, unit) =>
        console.log(
          `  goal ${number}  ${label.padEnd(58)} ${value.toFixed(2).padStart(8)}${unit}  (<= ${limit}${unit}) ${value <= limit ? 'met' : 'MISSED'}`,
        ),
    };
    await measureTurns(report, flags.quick);
    if (!flags.quick) await compareNaylence(report);
  }
  console.log(`in ${((performance.now() - from) / 1_000).toFixed(0)} s`);
}
