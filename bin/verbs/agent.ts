// `fame agent [NAME...]`: runs agents until a signal ends them.
import { runAgentProcess } from '@fame-fabric/agents/process';
import { warnOfMisspelt } from '../misspelt.ts';
import { writeMessage } from '../output.ts';
import { ALL_VARIABLES } from '../settings.ts';
import type { VerbInput } from '../verb.ts';

export function run({ positionals, env }: VerbInput): Promise<number> {
  warnOfMisspelt(env, ALL_VARIABLES, writeMessage);
  return runAgentProcess(positionals, { env });
}
