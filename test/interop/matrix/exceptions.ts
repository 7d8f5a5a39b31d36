// The cells of the matrix that do not hold, each with its reason.
import type { Cell } from './kinds.ts';

interface Exception {
  readonly row: string;
  readonly applies: (cell: Cell) => boolean;
  readonly reason: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    row: 'peers',
    applies: ({ sentinel, agent }) => sentinel === 'ts' && agent === 'py',
    reason:
      'A Python sentinel of naylence cannot connect to a TypeScript one as its peer: it sends an empty Sec-WebSocket-Protocol header, and the answer is HTTP 400.',
  },
];

export const reasonOf = (row: string, cell: Cell): string | undefined =>
  EXCEPTIONS.find((exception) => exception.row === row && exception.applies(cell))?.reason;
