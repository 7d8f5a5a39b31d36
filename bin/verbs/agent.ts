// `fame agent [NAME...]`: runs agents until a signal ends them.
import { runAgentProcess } from '@fame-fabric/agents/process';
import { writeMessage } from '../output.ts';
import type { VerbInput } from '../verb.ts';

export const run = ({ positionals, env }: VerbInput): Promise<number> =>
  runAgentProcess(positionals, { env, write: writeMessage });
