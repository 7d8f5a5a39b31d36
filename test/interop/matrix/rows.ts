// The rows of the matrix, in order.
import { EXAMPLES } from './examples.ts';
import { FAULTS } from './faults.ts';

export const ROWS: readonly string[] = [
  ...EXAMPLES.map(({ name }) => name),
  ...FAULTS.flatMap((group) => group.map(([name]) => name)),
];
