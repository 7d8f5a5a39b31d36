// `fame doctor` with what only the command knows: the variables of every room, to tell a misspelt one from a foreign one, and
// what the rooms make of their values.
import { AGENT_VARIABLES } from '@fame-fabric/agents/process/config';
import { CLIENT_VARIABLES } from '@fame-fabric/client/config';
import { runDoctor as examine } from '@fame-fabric/client/verbs/doctor';
import type { VerbInput } from '@fame-fabric/client/verbs/verb';
import { VARIABLES as SENTINEL_VARIABLES } from '@fame-fabric/sentinel/config';
import { checkSettings } from './settings.ts';

export const runDoctor = (input: VerbInput): Promise<number> =>
  examine(
    input,
    [...AGENT_VARIABLES, ...CLIENT_VARIABLES, ...SENTINEL_VARIABLES].map(({ name }) => name),
    checkSettings,
  );
