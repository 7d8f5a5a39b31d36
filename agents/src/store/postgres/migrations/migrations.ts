// Schema migrations of the PostgreSQL store, in order. A released migration is never edited. An additive one leaves the tables usable
// for programs that do not know it, so that agents of two versions share a store during an update.
import { sql as store } from './0001-store.ts';
import { sql as batches } from './0002-batches.ts';

export interface Migration {
  /** Counts up from 1 without gaps. */
  readonly version: number;
  readonly sql: string;
  /** @default false */
  readonly isAdditive?: boolean | undefined;
}

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, sql: store },
  { version: 2, sql: batches, isAdditive: true },
];
