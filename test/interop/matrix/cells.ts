// The cells of one fabric, and the outcome of a row in a cell.
import type { Fabric, KindNodes } from './fabric.ts';
import type { Cell } from './kinds.ts';

/** A cell with the processes that run it. */
export interface RunningCell extends Cell {
  readonly fabric: Fabric;
  /** Those of the agent's kind. */
  readonly agents: KindNodes;
  /** Those of the client's kind. */
  readonly clients: KindNodes;
}

export interface Outcome {
  readonly row: string;
  readonly cell: Cell;
  /** Absent if the row holds in this cell. */
  readonly fault?: string;
}

export const cellsOf = (fabric: Fabric): RunningCell[] =>
  fabric.kinds.flatMap((agent) =>
    fabric.kinds.map((client) => ({
      sentinel: fabric.kind,
      agent,
      client,
      fabric,
      agents: fabric.nodes.get(agent)!,
      clients: fabric.nodes.get(client)!,
    })),
  );

/** Runs `check` for every cell at once. */
export const checkCells = (
  row: string,
  cells: readonly RunningCell[],
  check: (cell: RunningCell) => Promise<void>,
): Promise<Outcome[]> =>
  Promise.all(
    cells.map(async (running): Promise<Outcome> => {
      const { sentinel, agent, client } = running;
      const cell = { sentinel, agent, client };
      try {
        await check(running);
        return { row, cell };
      } catch (error) {
        return { row, cell, fault: (error as Error).message };
      }
    }),
  );
