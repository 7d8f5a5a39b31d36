// The rows that a prompt and the text behind it take on a terminal, with the place of the cursor. A text with more rows than the
// terminal shows the rows around the cursor.
import { escapeControls, graphemes, graphemeWidth, textWidth } from '@fame-fabric/shared/internal';

export interface LayoutInput {
  /** Written before the first line, with its escape sequences. One line. */
  prompt: string;
  /** Written before each further line. */
  continuation: string;
  text: string;
  cursor: number;
  columns: number;
  maxRows: number;
}

export interface Layout {
  rows: string[];
  /** Place of the cursor in `rows`, from 0. */
  row: number;
  column: number;
}

/** Visible form of a grapheme. A tab has a fixed width, because its real one depends on the column. */
const shown = (grapheme: string): string => (grapheme === '\t' ? '    ' : escapeControls(grapheme));

/** Lays out the text. */
export function layOut({ prompt, continuation, text, cursor, columns, maxRows }: LayoutInput): Layout {
  const rows: string[] = [];
  const place = { row: 0, column: 0 };
  let at = 0;
  for (const [index, line] of text.split('\n').entries()) {
    const head = index === 0 ? prompt : continuation;
    let row = head;
    let column = widthOf(head);
    const markCursor = (): void => {
      if (at === cursor) Object.assign(place, { row: rows.length, column });
    };
    for (const grapheme of graphemes(line)) {
      const visible = shown(grapheme);
      const width = visible === grapheme ? graphemeWidth(grapheme) : textWidth(visible);
      // The last column stays empty: behind it terminals differ in where the cursor is.
      if (column + width >= columns && column > 0) {
        rows.push(row);
        row = '';
        column = 0;
      }
      markCursor();
      row += visible;
      column += width;
      at += grapheme.length;
    }
    markCursor();
    rows.push(row);
    at++; // the line feed
  }
  const first = Math.max(0, Math.min(place.row - maxRows + 1, rows.length - maxRows));
  return { rows: rows.slice(first, first + maxRows), row: place.row - first, column: place.column };
}

/** Columns of a row, without its escape sequences. */
export const widthOf = (row: string): number => textWidth(row.replace(/\u001b\[\d+m/g, ''));
