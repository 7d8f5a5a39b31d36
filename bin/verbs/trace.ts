// `fame trace`: the metadata of every envelope that passes through the sentinel, live, one line each, until Ctrl-C.
import { isFabricError } from '@fame-fabric/shared';
import {
  createStyle,
  EXIT,
  errorMessage,
  escapeLine,
  FRAME_TYPES,
  printableJson,
  redactUrl,
  type Style,
} from '@fame-fabric/shared/internal';
import { readClientConfig, sentinelOf } from '../config.ts';
import { textFlag } from '../flags.ts';
import { onInterrupt } from '../interrupt.ts';
import { onStdoutClosed, writeNote, writeOut } from '../output.ts';
import { getNodes, type SentinelHttp, type TraceLine, traceLines } from '../sentinel-http.ts';
import { UsageError, type VerbInput } from '../verb.ts';

export async function run(input: VerbInput): Promise<number> {
  const config = readClientConfig(input.env);
  const style = createStyle(Boolean(process.stdout.isTTY) && config.hasColours);
  const matches = filterOf(input);
  const sentinel = sentinelOf(config);
  const interrupt = onInterrupt();
  onStdoutClosed(() => process.exit(EXIT.ok));
  const onOpen = (): void => writeNote(`Tracing ${redactUrl(config.url)}. Ctrl-C ends the trace.\n`);
  try {
    for await (const line of traceLines(sentinel, interrupt.signal, onOpen)) {
      if (line.missed !== undefined) writeNote(missedText(line.missed));
      else if (matches(line)) writeOut(`${input.flags.json ? printableJson(line) : lineText(line, style)}\n`);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    interrupt.release();
  }
  if (interrupt.signal.aborted) return interrupt.exitCode;
  writeNote(`${await endReason(sentinel)}\n`);
  return EXIT.failure;
}

/** Finds out why the sentinel ended the trace: its key was replaced, or it stopped. */
async function endReason(sentinel: SentinelHttp): Promise<string> {
  try {
    await getNodes(sentinel);
    return 'The sentinel ended the trace, as it does when its local key is replaced. Start the trace again.';
  } catch (error) {
    return isFabricError(error, 'LINK_TIMEOUT')
      ? 'The sentinel stopped, so the trace ended.'
      : `The sentinel ended the trace. ${errorMessage(error)}`;
  }
}

const missedText = (count: number): string =>
  `(${Number(count)} envelopes were omitted: they passed faster than they could be printed)\n`;

/**
 * Combines the filters of the command line. A line must pass all of them. Each matches a substring of its field, ignoring case.
 * @throws {UsageError} if no frame type matches `--type`
 */
function filterOf(input: VerbInput): (line: TraceLine) => boolean {
  const wantedType = textFlag(input, 'type')?.toLowerCase();
  if (wantedType !== undefined && !FRAME_TYPES.some((type) => type.toLowerCase().includes(wantedType))) {
    throw new UsageError(`No frame type contains "${wantedType}". The types are: ${FRAME_TYPES.join(', ')}`);
  }
  const filter = (name: 'from' | 'to' | 'type' | 'corr') => {
    const wanted = textFlag(input, name)?.toLowerCase();
    return (...fields: (string | undefined)[]): boolean =>
      wanted === undefined || fields.some((field) => field?.toLowerCase().includes(wanted));
  };
  const [from, to, type, corr] = [filter('from'), filter('to'), filter('type'), filter('corr')];
  const onlyErrors = input.flags.errors === true;
  return (line) =>
    from(line.from) &&
    to(line.to, line.via) &&
    type(line.type) &&
    corr(line.corrId) &&
    (!onlyErrors || line.code !== undefined || line.dir === 'refuse' || line.dir === 'drop');
}

/** Formats one line of the trace, safe to print. */
export function lineText(line: TraceLine, style: Style): string {
  const time = new Date(Number(line.t)).toJSON()?.slice(11, 23) ?? '-';
  const target = line.to || line.via || '(sentinel)';
  const corr = line.corrId ? ` corr=${line.corrId}` : '';
  const at = line.sentinel ? ` at ${line.sentinel}` : '';
  const way = escapeLine(`${line.from} → ${target}${corr} ${line.bytes} B${at}`);
  const code = line.code ? ` ${style.red(escapeLine(line.code))}` : '';
  return `${style.dim(time)} ${cell(line.dir, 7)} ${cell(line.type, 14)} ${way}${code}`;
}

const cell = (text: string, width: number): string => escapeLine(text).padEnd(width);
