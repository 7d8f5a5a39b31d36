// Throughput of the splitter for tool-call arguments, on one core: MB/s of argument text in pieces of 4 characters, for texts
// of growing length. The first column is the splitter alone, the second the whole stream with both branches read, the third a
// splitter that parses the whole text again at every piece. Run: node bench/splitter.ts [--json]
import type { ModelChunk } from '@fame-fabric/agents';
import { ReplySplitter } from '@fame-fabric/agents/internal';
import { splitToolStream } from '@fame-fabric/agents/workflow';
import { median } from './median.ts';

const PIECE = 4;
const MAX_CHARS = 16 * 1024 * 1024;

/** Creates arguments of about `length` characters: a text for the user with escapes, then a document. */
function argumentsOf(length: number): string {
  const line = 'A line of text with "quotes", a path C:\\temp, a tab\t and café 😀.\n';
  const lines = Math.max(1, Math.floor(length / 2 / JSON.stringify(line).length));
  return JSON.stringify({
    title: 'notes',
    to_user: line.repeat(lines),
    body: line.repeat(lines),
    pages: [1, 2, 3],
  });
}

/**
 * Yields the chunks of one call, in pieces. All chunks are the same object: a million prepared chunks would take hundreds of
 * megabytes, and the figure would be that of the garbage collector.
 */
function* chunksOf(text: string): Generator<ModelChunk, undefined> {
  yield { choices: [{ index: 0, delta: { tool_calls: [{ index: 0, id: 'c', function: { name: 'f' } }] } }] };
  const piece = { arguments: '' };
  const chunk: ModelChunk = {
    choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: piece }] } }],
  };
  for (let at = 0; at < text.length; at += PIECE) {
    piece.arguments = text.slice(at, at + PIECE);
    yield chunk;
  }
  yield { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] };
  return undefined;
}

function feed(text: string): number {
  let textChars = 0;
  const splitter = new ReplySplitter(
    {
      toUserKey: 'to_user',
      separator: '\n',
      choice: 0,
      maxArgumentChars: MAX_CHARS,
      maxContentChars: MAX_CHARS,
      maxCalls: 128,
    },
    {
      text: (item) => {
        textChars += item.text.length;
      },
      call: (call) => {
        if (!call.ok) throw new Error(call.error.message);
      },
      warning: () => {},
    },
  );
  for (const chunk of chunksOf(text)) splitter.push(chunk);
  splitter.sourceEnded();
  return textChars;
}

async function drive(text: string): Promise<number> {
  // A bare iterator: an async generator would cost more than the splitter does.
  const left = chunksOf(text);
  const source: AsyncIterableIterator<ModelChunk> = {
    next: () => Promise.resolve(left.next()),
    [Symbol.asyncIterator]: () => source,
  };
  const stream = splitToolStream(source, { maxArgumentChars: MAX_CHARS, maxBufferedChars: MAX_CHARS });
  let textChars = 0;
  const read = async (): Promise<void> => {
    for await (const item of stream.toUser) textChars += item.text.length;
  };
  const calls = async (): Promise<void> => {
    for await (const call of stream.toolCalls) if (!call.ok) throw new Error(call.error.message);
  };
  await Promise.all([read(), calls()]);
  return textChars;
}

/** The alternative: closes the text so far and parses all of it again at every piece. */
function reparse(text: string): number {
  let raw = '';
  let textChars = 0;
  for (const chunk of chunksOf(text)) {
    raw += chunk.choices[0]?.delta.tool_calls?.[0]?.function?.arguments ?? '';
    let value: { to_user?: unknown } | undefined;
    for (const end of ['', '}', '"}']) {
      try {
        value = JSON.parse(raw + end) as { to_user?: unknown };
        break;
      } catch {
        // The next ending may fit.
      }
    }
    if (typeof value?.to_user === 'string' && value.to_user.length > textChars) {
      textChars = value.to_user.length;
    }
  }
  return textChars;
}

async function megabytesPerSecond(
  characters: number,
  run: () => number | Promise<number>,
  rounds: number,
): Promise<number> {
  const speeds: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // CPU time, including the threads of the garbage collector: other load on the machine does not change it.
    const started = process.cpuUsage();
    if ((await run()) === 0) throw new Error('The splitter returned no text for the user');
    const { user, system } = process.cpuUsage(started);
    speeds.push(characters / Math.max(1, user + system));
  }
  return median(speeds);
}

export interface SplitterFigures {
  characters: number;
  splitter: number;
  stream: number;
  reparsing: number | undefined;
}

export async function measureSplitter(
  lengths = [4_096, 65_536, 262_144, 1_048_576],
): Promise<SplitterFigures[]> {
  const warm = argumentsOf(65_536);
  for (let round = 0; round < 20; round += 1) {
    feed(warm);
    await drive(warm);
  }
  const rows: SplitterFigures[] = [];
  for (const length of lengths) {
    const text = argumentsOf(length);
    const rounds = Math.max(5, Math.min(200, Math.floor(8_000_000 / length)));
    rows.push({
      characters: text.length,
      splitter: await megabytesPerSecond(text.length, () => feed(text), rounds),
      stream: await megabytesPerSecond(text.length, () => drive(text), rounds),
      // Quadratic: longer texts would take minutes.
      reparsing: length > 65_536 ? undefined : await megabytesPerSecond(text.length, () => reparse(text), 1),
    });
  }
  return rows;
}

if (import.meta.main) {
  const rows = await measureSplitter();
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify({ node: process.version, pieceChars: PIECE, rows }));
  } else {
    console.log(
      `node ${process.version}, pieces of ${PIECE} characters, MB of argument text per second of CPU time, median`,
    );
    console.log('characters   splitter   whole stream   re-parsing');
    for (const { characters, splitter, stream, reparsing } of rows) {
      const cells = [splitter, stream].map((speed) => speed.toFixed(1));
      const last = reparsing === undefined ? '-' : reparsing.toFixed(3);
      console.log(
        `${String(characters).padStart(10)}${cells[0]!.padStart(11)}${cells[1]!.padStart(15)}${last.padStart(13)}`,
      );
    }
  }
}
