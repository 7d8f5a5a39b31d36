// Runs the matrix: every row in every cell that can exist.
import { cellsOf, checkCells, type Outcome } from './cells.ts';
import { EXAMPLES } from './examples.ts';
import { reasonOf } from './exceptions.ts';
import { type Fabric, startFabric } from './fabric.ts';
import { FAULTS } from './faults.ts';
import type { Kind } from './kinds.ts';

/** The cells of a row without those that are exceptions. */
const existing = (row: string, fabric: Fabric) => cellsOf(fabric).filter((cell) => !reasonOf(row, cell));

/** Starts a fabric around a sentinel of the kind `main`, with nodes of all kinds, and runs every row there. */
export async function runFabric(main: Kind, kinds: readonly Kind[]): Promise<Outcome[]> {
  const fabric = await startFabric(main, kinds);
  try {
    return await runRows(fabric);
  } finally {
    fabric.close();
  }
}

async function runRows(fabric: Fabric): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { name, run } of EXAMPLES) {
    outcomes.push(...(await checkCells(name, existing(name, fabric), run)));
  }
  for (const group of FAULTS) {
    const results = group.map(([name, fault]) => fault(name, fabric, existing(name, fabric)));
    outcomes.push(...(await Promise.all(results)).flat());
  }
  return outcomes;
}
