// `fame agent [NAME...]`.
import { runAgentProcess } from '@fame-fabric/agents/process';
import type { VerbInput } from '../verb.ts';

export const run = ({ positionals, env }: VerbInput): Promise<number> =>
  runAgentProcess(positionals, { env });
