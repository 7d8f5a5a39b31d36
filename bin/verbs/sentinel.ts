// `fame sentinel`: runs a sentinel until a signal ends it.
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { envWithPort } from '../flags.ts';
import type { VerbInput } from '../verb.ts';

export const run = (input: VerbInput): Promise<number> => runSentinelProcess({ env: envWithPort(input) });
