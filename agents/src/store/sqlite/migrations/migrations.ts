// Every change of the schema, in order. A migration that has been released is never edited; the next one corrects it.
import { sql as journal } from './0001-journal.ts';

export interface Migration {
  /** Counts up from 1 without gaps. */
  readonly version: number;
  readonly sql: string;
}

export const MIGRATIONS: readonly Migration[] = [{ version: 1, sql: journal }];
