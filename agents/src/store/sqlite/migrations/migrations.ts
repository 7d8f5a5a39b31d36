// Schema migrations, in order. A released migration is never edited; a later one corrects it.
import { sql as journal } from './0001-journal.ts';

export interface Migration {
  /** Counts up from 1 without gaps. */
  readonly version: number;
  readonly sql: string;
}

export const MIGRATIONS: readonly Migration[] = [{ version: 1, sql: journal }];
