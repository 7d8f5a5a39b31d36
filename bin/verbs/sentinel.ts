// `fame sentinel`: runs a sentinel until a signal ends it.
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { envWithPort } from '../flags.ts';
import { warnOfMisspelt } from '../misspelt.ts';
import { writeMessage } from '../output.ts';
import type { VerbInput } from '../verb.ts';

export function run(input: VerbInput): Promise<number> {
  warnOfMisspelt(input.env, SENTINEL_VARIABLES, writeMessage);
  return runSentinelProcess({ env: envWithPort(input) });
}
