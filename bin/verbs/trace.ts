// `fame trace`: metadata of what passes through the sentinel, live, one line an envelope, until Ctrl-C.

import { inert } from '@fame-fabric/client/inert-text';
import { createStyle } from '@fame-fabric/client/style';
import { FRAME_TYPES } from '@fame-fabric/shared/protocol/frames';
import { readClientConfig, shownUrl } from '../config.ts';
import { type TraceLine, traceLines } from '../sentinel-http.ts';
import { onInterrupt, textFlag, UsageError, type VerbInput, writeNote, writeOut } from '../verb.ts';

export async function run(verb: VerbInput): Promise<number> {
  const config = readClientConfig(verb.env);
  const style = createStyle(Boolean(process.stdout.isTTY) && config.hasColours);
  const isWanted = filterOf(verb);
  const interrupt = onInterrupt();
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0); // `fame trace | head`: its reader has what it wanted
  });
  const onOpen = (): void => writeNote(`Listening to ${shownUrl(config.url)}; Ctrl-C ends.\n`);
  try {
    for await (const line of traceLines(config.httpUrl, interrupt.signal, onOpen)) {
      if (line.missed !== undefined)
        writeNote(`(${line.missed} more passed faster than they could be shown)\n`);
      else if (isWanted(line))
        writeOut(verb.flags.json ? `${JSON.stringify(line)}\n` : `${lineText(line, style)}\n`);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
  } finally {
    interrupt.release();
  }
  if (interrupt.signal.aborted) return 130;
  writeNote('The sentinel ended the trace.\n');
  return 1;
}

/**
 * The filters of the command line, all of which a line must pass. Texts match a part of the field.
 * @throws {UsageError} for a type that no frame has
 */
export function filterOf(verb: VerbInput): (line: TraceLine) => boolean {
  const wantedType = textFlag(verb, 'type')?.toLowerCase();
  if (wantedType !== undefined && !FRAME_TYPES.some((type) => type.toLowerCase().includes(wantedType))) {
    throw new UsageError(`There is no frame type like "${wantedType}". There are: ${FRAME_TYPES.join(', ')}`);
  }
  const has = (name: 'from' | 'to' | 'type' | 'corr') => {
    const wanted = textFlag(verb, name)?.toLowerCase();
    return (...fields: (string | undefined)[]): boolean =>
      wanted === undefined || fields.some((field) => field?.toLowerCase().includes(wanted));
  };
  const [from, to, type, corr] = [has('from'), has('to'), has('type'), has('corr')];
  const onlyErrors = verb.flags.errors === true;
  return (line) =>
    from(line.from) &&
    to(line.to, line.via) &&
    type(line.type) &&
    corr(line.corrId) &&
    (!onlyErrors || line.code !== undefined || line.dir === 'refuse');
}

function lineText(line: TraceLine, style: ReturnType<typeof createStyle>): string {
  const time = new Date(line.t).toISOString().slice(11, 23);
  const target = line.to || line.via || '(sentinel)';
  const code = line.code ? ` ${style.red(inert(line.code))}` : '';
  const corr = line.corrId ? ` corr=${line.corrId}` : '';
  return `${style.dim(time)} ${line.dir.padEnd(7)} ${inert(line.type).padEnd(14)} ${inert(
    `${line.from} → ${target}${corr}`,
  )} ${line.bytes} B${code}`;
}
