// `fame sentinel`.
import { runSentinelProcess } from '@fame-fabric/sentinel';
import { envWithPort, type VerbInput } from '../verb.ts';

export const run = (input: VerbInput): Promise<number> => runSentinelProcess({ env: envWithPort(input) });
