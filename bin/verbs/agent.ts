// `fame agent [NAME...]`: runs agents until a signal ends them.
import { runAgentProcess } from '@fame-fabric/agents/process';
import { lifeLine } from '@fame-fabric/shared/internal';
import { logsJson } from '../config.ts';
import { misspeltWarnings } from '../misspelt.ts';
import { writeNote } from '../output.ts';
import { ALL_VARIABLES } from '../settings.ts';
import type { VerbInput } from '../verb.ts';

export function run({ positionals, env }: VerbInput): Promise<number> {
  for (const line of misspeltWarnings(env, ALL_VARIABLES)) {
    writeNote(lifeLine('agents', line, logsJson(env), 'warn'));
  }
  return runAgentProcess(positionals, { env });
}
