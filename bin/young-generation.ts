// The young generation of V8 in an agent process.
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';

/** Both halves of the young generation, in bytes. V8 starts with 1 MB and doubles it up to 32 MB. */
const YOUNG_BYTES = 8 * 1_048_576;
/** Maximum number of arrays that make it grow: 14 MB. */
const MAX_SURVIVORS = 100_000;
const CHECK_EVERY = 2_048;

const youngBytes = (): number =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? YOUNG_BYTES;

/**
 * Grows the young generation to 8 MB and keeps it there. Call it before the modules of the agent make it grow to 32 MB. At 400
 * conversations at once, a process with 8 MB takes a fifth less memory, for about 5 % more CPU time. One with 2 MB takes more of both,
 * because more objects of turns are promoted (decision 61). V8 reads the limit of the young generation only from the command line, but
 * it reads the growth factor at any time. The young generation grows when objects survive, so this function allocates some.
 */
export function limitYoungGeneration(): void {
  const survivors: number[][] = [];
  while (survivors.length < MAX_SURVIVORS) {
    if (survivors.length % CHECK_EVERY === 0 && youngBytes() >= YOUNG_BYTES) break;
    survivors.push(new Array<number>(16).fill(survivors.length));
  }
  setFlagsFromString('--semi-space-growth-factor=1');
  // For 8 MB, waking V8's helper threads costs more time than they save.
  setFlagsFromString('--no-parallel-scavenge');
}
