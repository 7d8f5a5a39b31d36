// `fame sentinel`: runs a sentinel until a signal ends it.
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { SENTINEL_VARIABLES } from '@fame-fabric/sentinel/internal';
import { lifeLine } from '@fame-fabric/shared/internal';
import { logsJson } from '../config.ts';
import { envWithPort } from '../flags.ts';
import { warnOfMisspelt } from '../misspelt.ts';
import { writeNote } from '../output.ts';
import type { VerbInput } from '../verb.ts';

export function run(input: VerbInput): Promise<number> {
  warnOfMisspelt(input.env, SENTINEL_VARIABLES, (line) =>
    writeNote(lifeLine('sentinel', line, logsJson(input.env), 'warn')),
  );
  return runSentinelProcess({ env: envWithPort(input) });
}
