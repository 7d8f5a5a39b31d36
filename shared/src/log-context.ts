// Fields that every log line of some work has, in all that it awaits: the ids of a turn in the lines of its model and its tools.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { LogFields } from './log.ts';

const context = new AsyncLocalStorage<LogFields>();

/** Runs `work`. The lines that `createLog` writes during it have `fields`, unless a line sets a field of that name itself. */
export const withLogFields = <T>(fields: LogFields, work: () => T): T =>
  context.run({ ...context.getStore(), ...fields }, work);

/** Fields of the work that runs now. */
export const activeLogFields = (): LogFields | undefined => context.getStore();
