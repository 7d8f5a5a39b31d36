// Schema migrations, in order. A released migration is never edited; a later one corrects it. An additive migration leaves the
// file usable for programs that do not know it: they ignore its tables and columns. Any other migration locks them out.
import { sql as journal } from './0001-journal.ts';
import { sql as trash } from './0002-trash.ts';
import { sql as operations } from './0003-operations.ts';
import { sql as owners } from './0004-owners.ts';
import { sql as agentStore } from './0005-agent-store.ts';
import { sql as quotas } from './0006-quotas.ts';
import { sql as ownerSizes } from './0007-owner-sizes.ts';
import { sql as replicas } from './0008-replicas.ts';

export interface Migration {
  /** Counts up from 1 without gaps. */
  readonly version: number;
  readonly sql: string;
  /** @default false */
  readonly isAdditive?: boolean | undefined;
}

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, sql: journal },
  { version: 2, sql: trash, isAdditive: true },
  { version: 3, sql: operations, isAdditive: true },
  { version: 4, sql: owners, isAdditive: true },
  { version: 5, sql: agentStore, isAdditive: true },
  { version: 6, sql: quotas, isAdditive: true },
  { version: 7, sql: ownerSizes, isAdditive: true },
  { version: 8, sql: replicas, isAdditive: true },
];
