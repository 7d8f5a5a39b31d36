// The matrix as a table: in the terminal a column for each cell, in the documents one for each sentinel.
import type { Outcome } from './cells.ts';
import { EXCEPTIONS, reasonOf } from './exceptions.ts';
import { type Cell, KINDS, type Kind } from './kinds.ts';
import { ROWS } from './rows.ts';

const LETTERS: Readonly<Record<Kind, string>> = { ts: 'T', py: 'P', fame: 'F' };

const cellsOf = (kinds: readonly Kind[]): Cell[] =>
  kinds.flatMap((sentinel) => kinds.flatMap((agent) => kinds.map((client) => ({ sentinel, agent, client }))));

const isSame = (a: Cell, b: Cell): boolean =>
  a.sentinel === b.sentinel && a.agent === b.agent && a.client === b.client;

/** Marks of a run: `+` holds, `X` fails, `-` is an exception. */
export function tableText(outcomes: readonly Outcome[], kinds: readonly Kind[]): string {
  const cells = cellsOf(kinds);
  const width = Math.max(...ROWS.map((row) => row.length));
  const head = (['sentinel', 'agent', 'client'] as const).map((role) => [
    role,
    ...cells.map((cell) => LETTERS[cell[role]]),
    '',
  ]);
  const rows = ROWS.map((row) => {
    const marks = cells.map((cell) => {
      if (reasonOf(row, cell)) return '-';
      const outcome = outcomes.find((each) => each.row === row && isSame(each.cell, cell));
      return outcome && !outcome.fault ? '+' : 'X';
    });
    const held = marks.filter((mark) => mark === '+').length;
    return [row, ...marks, `${held} of ${marks.filter((mark) => mark !== '-').length}`];
  });
  const lines = [...head, ...rows].map(([first, ...rest]) => `${first!.padEnd(width)}  ${rest.join(' ')}`);
  const reasons = EXCEPTIONS.map(({ row, reason }) => `- ${row}: ${reason}`);
  const legend =
    'T naylence for TypeScript, P naylence for Python, F Fame Fabric; + holds, X fails, - cannot exist';
  return [...lines, '', legend, ...reasons].join('\n');
}

/** The rows of the table in docs/naylence.md: the number of combinations of agent and client that hold at each sentinel. */
export const documentRows = (): string[] =>
  ROWS.map((row) => {
    const counts = KINDS.map((sentinel) => {
      const cells = cellsOf(KINDS).filter((cell) => cell.sentinel === sentinel);
      const held = cells.filter((cell) => !reasonOf(row, cell)).length;
      return `${held} of ${cells.length}`;
    });
    return `| \`${row}\` | ${counts.join(' | ')} |`;
  });
