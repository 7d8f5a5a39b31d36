// The frames of a recording: the screens of terminals with their times. A frame is taken when a terminal changes. Changes that follow each
// other within a few ms are one frame, because programs draw in several writes, and long pauses are shortened.
import type { ScreenSize, ShellScreen } from '../kit/screen.ts';

type Cell = NonNullable<ReturnType<NonNullable<ReturnType<ShellScreen['buffer']['getLine']>>['getCell']>>;

/** Text in one style, from `column` on. Without `foreground` it has the colour of the terminal. */
export interface Run {
  readonly column: number;
  readonly text: string;
  /** Number of the colour, 0 to 15. */
  readonly foreground?: number | undefined;
  readonly isDim: boolean;
  readonly isBold: boolean;
}
export type Row = readonly Run[];

/** The screen of one terminal. */
export interface Pane {
  readonly rows: readonly Row[];
  readonly cursor: { readonly column: number; readonly row: number };
}

export interface Frame {
  readonly atMs: number;
  readonly panes: readonly Pane[];
}

const lookOf = (cell: Cell): Omit<Run, 'column' | 'text'> => ({
  foreground: cell.isFgPalette() ? cell.getFgColor() : undefined,
  isDim: cell.isDim() !== 0,
  isBold: cell.isBold() !== 0,
});

/** Reads one row: runs of text in one style, without the blanks between them. */
function rowOf(screen: ShellScreen, line: number, columns: number): Row {
  const runs: Run[] = [];
  for (let column = 0; column < columns; column++) {
    const cell = screen.buffer.getLine(line)?.getCell(column);
    if (!cell || cell.getWidth() === 0) continue;
    const look = lookOf(cell);
    const last = runs.at(-1);
    const isSameLook =
      last &&
      JSON.stringify({ ...last, column: 0, text: '' }) === JSON.stringify({ column: 0, text: '', ...look });
    if (isSameLook) runs[runs.length - 1] = { ...last, text: last.text + (cell.getChars() || ' ') };
    else runs.push({ column, text: cell.getChars() || ' ', ...look });
  }
  return runs.flatMap((run) => {
    const text = run.text.trimEnd();
    const blanks = text.length - text.trimStart().length;
    return text === '' ? [] : [{ ...run, column: run.column + blanks, text: text.slice(blanks) }];
  });
}

/** Reads the visible part of a terminal. */
function paneOf(screen: ShellScreen, { columns, rows }: ScreenSize): Pane {
  const { baseY, cursorX, cursorY } = screen.buffer;
  return {
    rows: Array.from({ length: rows }, (_, y) => rowOf(screen, baseY + y, columns)),
    cursor: { column: cursorX, row: cursorY },
  };
}

/** Changes within this time are one frame, in ms. */
const SETTLE_MS = 30;

export class FrameRecorder {
  readonly #terminals: readonly (ScreenSize & { readonly screen: ShellScreen })[];
  readonly #frames: Frame[] = [];
  readonly #stops: (() => void)[];

  constructor(terminals: readonly (ScreenSize & { readonly screen: ShellScreen })[]) {
    this.#terminals = terminals;
    this.#take();
    this.#stops = terminals.map(({ screen }) => screen.onChange(() => this.#take()));
  }

  #take(): void {
    const atMs = performance.now();
    const panes = this.#terminals.map(({ screen, ...size }) => paneOf(screen, size));
    const last = this.#frames.at(-1);
    if (last && JSON.stringify(last.panes) === JSON.stringify(panes)) return;
    if (last && atMs - last.atMs < SETTLE_MS) this.#frames[this.#frames.length - 1] = { ...last, panes };
    else this.#frames.push({ atMs, panes });
  }

  /** Ends the recording. Returns its frames with pauses of at most `maxPauseMs`; the first is at 0. */
  stop(maxPauseMs: number): Frame[] {
    for (const stop of this.#stops) stop();
    let atMs = 0;
    return this.#frames.map(({ atMs: tookAtMs, panes }, i) => {
      if (i > 0) atMs += Math.min(maxPauseMs, tookAtMs - this.#frames[i - 1]!.atMs);
      return { atMs: Math.round(atMs), panes };
    });
  }
}
