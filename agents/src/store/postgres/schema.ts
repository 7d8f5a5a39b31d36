// Prepares a database for the store: checks that its commits are durable, and runs the missing migrations under a lock, since several
// agents may start at once.
import { FabricError } from '@fame-fabric/shared';
import type { Connection } from './connection.ts';
import { sqlState } from './faults.ts';
import { MIGRATIONS, type Migration } from './migrations/migrations.ts';

/** First part of the advisory lock of migrations. */
const MIGRATION_LOCK = 0x46414d45;

/** @throws {STORE_SCHEMA | STORE_UNAVAILABLE} with the place, the cause and the fix; and errors of the server */
export async function prepareSchema(
  connection: Connection,
  {
    schema,
    place,
    migrations = MIGRATIONS,
  }: { schema: string; place: string; migrations?: readonly Migration[] | undefined },
): Promise<void> {
  await checkDurable(connection, place);
  const applied = await appliedVersions(connection, schema, place);
  checkNotNewer(applied, migrations, place);
  if (migrations.every(({ version }) => applied.some((one) => one.version === version))) return;
  await connection.script('BEGIN');
  try {
    await connection.run('SELECT pg_advisory_xact_lock($1, hashtext($2))', MIGRATION_LOCK, schema);
    await connection.script(`CREATE SCHEMA IF NOT EXISTS ${schema};
      CREATE TABLE IF NOT EXISTS migration (version integer PRIMARY KEY, is_additive boolean NOT NULL)`);
    const before = new Set((await appliedVersions(connection, schema, place)).map(({ version }) => version));
    for (const { version, sql, isAdditive = false } of migrations) {
      if (before.has(version)) continue;
      await connection.script(sql);
      await connection.run('INSERT INTO migration VALUES ($1, $2)', version, isAdditive);
    }
    await connection.script('COMMIT');
  } catch (error) {
    await connection.script('ROLLBACK').catch(() => connection.destroy());
    throw error;
  }
}

interface Applied {
  version: number;
  is_additive: boolean;
}

async function appliedVersions(connection: Connection, schema: string, place: string): Promise<Applied[]> {
  const tables = await connection.all<{ name: string }>(
    'SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = $1',
    schema,
  );
  if (tables.length === 0) return [];
  const foreign = new FabricError(
    'STORE_SCHEMA',
    `The store ${place} cannot be opened: its schema ${schema} has tables of another program. Name another database in FAME_STORE_URL.`,
  );
  if (!tables.some(({ name }) => name === 'migration')) throw foreign;
  try {
    return await connection.all<Applied>('SELECT version, is_additive FROM migration ORDER BY version');
  } catch (error) {
    // 42703: another program has a table of that name, with other columns.
    throw sqlState(error) === '42703' ? foreign : error;
  }
}

function checkNotNewer(applied: readonly Applied[], migrations: readonly Migration[], place: string): void {
  const newest = migrations.at(-1)?.version ?? 0;
  const required = applied.filter((one) => !one.is_additive).at(-1)?.version ?? 0;
  if (required <= newest) return;
  throw new FabricError(
    'STORE_SCHEMA',
    `The store ${place} cannot be opened: its schema is version ${required}, and this program supports versions up to ${newest}. Run the newer version, or name another database in FAME_STORE_URL.`,
  );
}

async function checkDurable(connection: Connection, place: string): Promise<void> {
  const row = await connection.get<{ fsync: string; pages: string; encoding: string }>(
    `SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
       current_setting('server_encoding') AS encoding`,
  );
  const fault =
    row!.fsync !== 'on'
      ? 'its server runs with fsync off, so a power cut loses data; set fsync = on'
      : row!.pages !== 'on'
        ? 'its server runs with full_page_writes off, so a power cut damages data; set full_page_writes = on'
        : row!.encoding !== 'UTF8'
          ? `its encoding is ${row!.encoding}; create the database with the encoding UTF8`
          : undefined;
  if (fault) throw new FabricError('STORE_UNAVAILABLE', `The store ${place} cannot be opened: ${fault}.`);
}
