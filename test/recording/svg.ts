// Draws a recording of terminals as an animated SVG. Each row of each terminal is one group of text for each content that it had,
// and CSS keyframes show a group for the time in which the row had that content. The picture has no script and needs no font
// file, so it moves in an `<img>` too. Where animations are unwanted (`prefers-reduced-motion`), it shows its last frame.
import type { Frame, Pane, Row, Run } from './frames.ts';

const FONT = 'ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,Liberation Mono,monospace';
const FONT_SIZE = 14;
const CELL = { width: 8.4, height: 20 };
const PADDING = 14;
/** Height of the title bar of a terminal. */
const BAR = 30;
const GAP = 10;

/** Colours of the terminal: readable on a light and on a dark page, because it has its own background and border. */
const THEME = { page: '#0d1117', bar: '#21262d', border: '#6e7681', text: '#e6edf3', title: '#9198a1' };
/** The 16 colours of a terminal. */
const PALETTE = (
  '#484f58 #ff7b72 #3fb950 #d29922 #58a6ff #bc8cff #39c5cf #b1bac4 ' +
  '#6e7681 #ffa198 #56d364 #e3b341 #79c0ff #d2a8ff #56d4dd #ffffff'
).split(' ');

interface Terminal {
  readonly title: string;
  readonly columns: number;
  readonly rows: number;
}

export interface Recording {
  /** Describes the picture to readers who do not see it. */
  readonly about: string;
  readonly terminals: readonly Terminal[];
  /** In the order of time; the first is at 0. Each has a pane for each terminal. */
  readonly frames: readonly Frame[];
  /** End of the last frame, in ms. Then the recording starts again. */
  readonly durationMs: number;
}

const escaped = (text: string): string => text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
const short = (value: number): string => String(Math.round(value * 1_000) / 1_000);

function colour(index: number | undefined): string | undefined {
  if (index === undefined) return undefined;
  const found = PALETTE[index];
  if (!found) throw new Error(`The picture has no colour ${index}: only the 16 colours of a terminal`);
  return found;
}

/** Text of a run at its column. The length fits it to the cells in any font. */
function drawRun({ column, text, foreground, isDim, isBold }: Run, y: number): string {
  const fill = colour(foreground);
  const look = [
    fill ? ` fill="${fill}"` : '',
    isDim ? ' opacity=".65"' : '',
    isBold ? ' font-weight="bold"' : '',
  ].join('');
  const x = short(PADDING + column * CELL.width);
  return `<text x="${x}" y="${y}" textLength="${short(text.length * CELL.width)}"${look}>${escaped(text)}</text>`;
}

/** Time in which a row had one content. */
interface Span {
  readonly row: Row;
  readonly startMs: number;
  endMs: number;
}

function spansOf(recording: Recording, terminal: number, y: number): Span[] {
  const spans: Span[] = [];
  for (const { atMs, panes } of recording.frames) {
    const row = panes[terminal]!.rows[y] ?? [];
    const last = spans.at(-1);
    if (last && JSON.stringify(last.row) === JSON.stringify(row)) continue;
    if (last) last.endMs = atMs;
    spans.push({ row, startMs: atMs, endMs: recording.durationMs });
  }
  return spans.filter(({ row }) => row.length > 0);
}

/** Keyframes that hold each value until the next one. */
const keyframes = (name: string, steps: readonly (readonly [share: number, css: string])[]): string =>
  `@keyframes ${name}{${steps.map(([share, css]) => `${short(share * 100)}%{${css}}`).join('')}}`;

class Drawing {
  readonly rules: string[] = [];
  readonly #recording: Recording;
  #count = 0;

  constructor(recording: Recording) {
    this.#recording = recording;
  }

  terminal(index: number): string {
    const { title, rows } = this.#recording.terminals[index]!;
    const content = Array.from({ length: rows }, (_, y) =>
      spansOf(this.#recording, index, y)
        .map((span) => this.#span(span, BAR + PADDING + y * CELL.height + FONT_SIZE))
        .join(''),
    ).join('\n');
    const { width, height } = sizeOf(this.#recording.terminals[index]!);
    return [
      `<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="8" fill="${THEME.page}" stroke="${THEME.border}"/>`,
      `<path d="M1 ${BAR}V9a8 8 0 0 1 8-8H${width - 9}a8 8 0 0 1 8 8V${BAR}z" fill="${THEME.bar}"/>`,
      `<text x="${PADDING}" y="20" fill="${THEME.title}" font-size="12">${escaped(title)}</text>`,
      this.#cursor(index),
      content,
    ].join('\n');
  }

  #span({ row, startMs, endMs }: Span, y: number): string {
    const texts = row.map((run) => drawRun(run, y)).join('');
    const { durationMs } = this.#recording;
    const isLast = endMs === durationMs;
    if (startMs === 0 && isLast) return `<g>${texts}</g>`;
    const name = `k${this.#count++}`;
    this.rules.push(
      keyframes(name, [
        ...(startMs > 0 ? [[0, 'visibility:hidden'] as const] : []),
        [startMs / durationMs, 'visibility:visible'],
        ...(isLast ? [] : [[endMs / durationMs, 'visibility:hidden'] as const]),
      ]),
    );
    this.rules.push(`.${name}{animation-name:${name}}`);
    return `<g class="a${isLast ? ' z' : ''} ${name}">${texts}</g>`;
  }

  #cursor(index: number): string {
    const steps: [number, string][] = [];
    for (const { atMs, panes } of this.#recording.frames) {
      const css = cursorCss(panes[index]!);
      if (steps.at(-1)?.[1] !== css) steps.push([atMs / this.#recording.durationMs, css]);
    }
    const name = `c${index}`;
    this.rules.push(keyframes(name, steps), `.${name}{${steps.at(-1)![1]};animation-name:${name}}`);
    const { width, height } = CELL;
    return `<rect class="a z ${name}" x="${PADDING}" y="${BAR + PADDING - 1}" width="${width}" height="${height - 2}" fill="${THEME.text}" opacity=".5"/>`;
  }
}

const cursorCss = ({ cursor }: Pane): string =>
  `transform:translate(${short(cursor.column * CELL.width)}px,${cursor.row * CELL.height}px)`;

const sizeOf = ({ columns, rows }: Terminal): { width: number; height: number } => ({
  width: Math.ceil(columns * CELL.width) + 2 * PADDING,
  height: rows * CELL.height + BAR + 2 * PADDING,
});

/** Draws the terminals below each other. */
export function drawSvg(recording: Recording): string {
  const drawing = new Drawing(recording);
  const sizes = recording.terminals.map(sizeOf);
  const width = Math.max(...sizes.map((size) => size.width));
  const tops = sizes.map((_, i) => sizes.slice(0, i).reduce((top, size) => top + size.height + GAP, 0));
  const height = tops.at(-1)! + sizes.at(-1)!.height;
  const bodies = tops.map((top, i) => `<g transform="translate(0 ${top})">\n${drawing.terminal(i)}\n</g>`);
  const seconds = short(recording.durationMs / 1_000);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" xml:space="preserve" font-family="${FONT}" font-size="${FONT_SIZE}" fill="${THEME.text}">
<title>${escaped(recording.about)}</title>
<style>
text{white-space:pre}
.a{visibility:hidden;animation:${seconds}s step-end infinite}
.z{visibility:visible}
${drawing.rules.join('\n')}
@media (prefers-reduced-motion:reduce){.a{animation:none}}
</style>
${bodies.join('\n')}
</svg>
`;
}
