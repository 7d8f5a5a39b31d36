// I1: the examples of naylence, written anew, for all combinations of a sentinel, an agent and a client of naylence for TypeScript and
// of ours, with processes that are killed, frozen and restarted. `make interop-python` adds those of naylence for Python.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Outcome } from './cells.ts';
import { reasonOf } from './exceptions.ts';
import type { Kind } from './kinds.ts';
import { ROWS } from './rows.ts';
import { runFabric } from './run.ts';
import { tableText } from './table.ts';

const KINDS: readonly Kind[] = ['ts', 'fame'];

describe('naylence for TypeScript and ours', () => {
  let outcomes: readonly Outcome[];
  beforeAll(async () => {
    outcomes = (await Promise.all(KINDS.map((main) => runFabric(main, KINDS)))).flat();
    console.log(tableText(outcomes, KINDS));
  }, 400_000);

  test.each(ROWS)('I1: %s', (row) => {
    const cells = outcomes.filter((outcome) => outcome.row === row);
    expect(cells.filter(({ fault }) => fault !== undefined)).toEqual([]);
    const all = KINDS.flatMap((sentinel) =>
      KINDS.flatMap((agent) => KINDS.map((client) => ({ sentinel, agent, client }))),
    );
    expect(cells).toHaveLength(all.filter((cell) => !reasonOf(row, cell)).length);
  });
});
