// `fame sentinel`: runs a sentinel until a signal ends it. Imports nothing that loads the link or pino: both would double the time
// until the port is open.
import { DOOR_VARIABLES } from '@fame-fabric/doors/config';
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { doorsOf } from '../doors.ts';
import { envWithPort } from '../flags.ts';
import { misspeltWarnings } from '../misspelt.ts';
import type { VerbInput } from '../verb.ts';

export const run = (input: VerbInput): Promise<number> =>
  runSentinelProcess({
    env: envWithPort(input),
    doors: doorsOf(input.env),
    warnings: misspeltWarnings(input.env, [...SENTINEL_VARIABLES, ...DOOR_VARIABLES]),
  });
