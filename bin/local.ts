// `fame local` with what only the command knows: the settings of the rooms that `start` hands its environment to.

import { runLocal as run } from '@fame-fabric/client/verbs/local';
import type { VerbInput } from '@fame-fabric/client/verbs/verb';
import { checkSettings } from './settings.ts';

export const runLocal = (input: VerbInput): Promise<number> => run(input, checkSettings);
