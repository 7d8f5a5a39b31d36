// The limits of the store and of its owners. A full store makes room: it deletes its trash, after it moved ended conversations there,
// then idle ones of owners except `local`, those of the largest owner first.
import { ERRORS, FabricError } from '@fame-fabric/shared';
import { ownerLimitText } from '../owner-limits.ts';
import { type EventKind, endOfTurn, isEndedState, type OwnerLimits, type RoomReport } from '../store.ts';
import { type Candidate, candidates, deleteRows, IS_IDLE, moveToTrash, OPERATOR } from './removal.ts';
import { ENDED, trashChars } from './sweep.ts';
import type { Transaction } from './transaction.ts';

/** Conversations that one call moves to the trash, and those that it deletes. */
const MAX_ROOM = 128;
/** Share of a full store that is kept as trash. A removed conversation stays in the trash while that share fills. */
const TRASH_SHARE = 0.05;
/** Reserve above the limit in which running turns can end. */
const RESERVE_BYTES = 16_777_216;
const STEP_BYTES = 1_048_576;
const MIN_STEP_BYTES = 16_384;

/** Name that `makeRoom` locks: one writer makes room at a time. */
export const ROOM_NAME = 'room';

export interface RoomOptions {
  /** Size limit of the store, in characters; 0 for no limit. */
  readonly maxBytes: number;
  readonly ownerLimits: OwnerLimits;
  /** Called when a full store removes conversations, and again for each further attempt. */
  readonly onRoom: ((report: RoomReport) => void) | undefined;
}

export class Room {
  readonly #options: RoomOptions;

  constructor(options: RoomOptions) {
    this.#options = options;
  }

  isFull(bytes: number): boolean {
    const { maxBytes } = this.#options;
    return maxBytes > 0 && bytes >= maxBytes;
  }

  /** @throws {STORE_FULL} */
  assertNotFull(tx: Transaction): void {
    if (!this.isFull(tx.bytes)) return;
    throw new FabricError(
      'STORE_FULL',
      `The conversation store has reached its limit of ${this.#options.maxBytes} bytes. Remove conversations (npx fame-fabric conversations rm ID --now) or raise FAME_STORE_MAX_BYTES.`,
    );
  }

  /** Refuses events that do not fit into the reserve for running turns. The end of a turn always fits. @throws {STORE_FULL} */
  assertReserve(tx: Transaction, chars: number, events: readonly { readonly kind: EventKind }[]): void {
    const { maxBytes } = this.#options;
    if (maxBytes === 0 || tx.bytes + chars <= maxBytes + RESERVE_BYTES) return;
    if (events.every(({ kind }) => endOfTurn(kind) !== undefined || kind === 'conversation_ended')) return;
    throw new FabricError('STORE_FULL', `The conversation store is full. ${ERRORS.STORE_FULL.fix}`);
  }

  /**
   * Moves conversations of an owner to the trash until it is below its limits, for one more conversation if `isNew`: ended ones for its
   * size, then idle ones. `except` is the conversation that needs the room. @throws {QUOTA_EXCEEDED} if it is still above
   */
  async assertOwnerRoom(tx: Transaction, principal: string, except: string, isNew: boolean): Promise<void> {
    const { maxBytes, maxConversations } = this.#options.ownerLimits;
    const countsOpen = isNew && maxConversations > 0;
    if (principal === OPERATOR || (maxBytes === 0 && !countsOpen)) return;
    const excessOf = async () => ({
      chars: maxBytes > 0 ? (await charsOf(tx, principal)) - maxBytes : -1,
      open: countsOpen ? (await openOf(tx, principal, maxConversations)) - maxConversations : -1,
    });
    let excess = await excessOf();
    const isAbove = (): boolean => excess.chars >= 0 || excess.open >= 0;
    const move = async (rows: readonly Candidate[], isIdle: boolean): Promise<void> => {
      const chosen: Candidate[] = [];
      for (const row of rows) {
        if (!(excess.chars >= 0 || (isIdle && excess.open >= 0))) break;
        if (row.id === except || row.isHeld) continue;
        chosen.push(row);
        excess = { chars: excess.chars - row.chars, open: excess.open - (isIdle ? 1 : 0) };
      }
      if (maxBytes === 0) excess.chars = -1;
      await moveToTrash(tx, chosen);
    };
    if (excess.chars >= 0) await move(await endedOf(tx, principal, MAX_ROOM), false);
    if (isAbove()) await move(await idleOf(tx, principal, MAX_ROOM), true);
    if (isAbove())
      throw new FabricError('QUOTA_EXCEEDED', ownerLimitText(principal, this.#options.ownerLimits));
  }

  /** Removes conversations until the store is two steps below its limit. Returns false if it found none to remove. */
  async makeRoom(tx: Transaction, except: ReadonlySet<string>): Promise<boolean> {
    const { maxBytes, onRoom } = this.#options;
    // Another writer may have made room meanwhile.
    if (!this.isFull(tx.bytes)) return true;
    const report = await makeRoom(tx, maxBytes - 2 * stepOf(maxBytes), except);
    if (report.ended + report.idle + report.deleted === 0) return false;
    onRoom?.(report);
    // A move to the trash alone makes no room, but the next call deletes it.
    return true;
  }
}

const stepOf = (bytes: number): number => Math.max(MIN_STEP_BYTES, Math.min(STEP_BYTES, bytes >> 6));

async function makeRoom(
  tx: Transaction,
  targetBytes: number,
  except: ReadonlySet<string>,
): Promise<RoomReport> {
  const moved: Candidate[] = [];
  let inTrash = await trashChars(tx);
  const share = Math.max(1, tx.bytes * TRASH_SHARE);
  if (inTrash < share) {
    for (const row of await victims(tx, except)) {
      if (inTrash >= share) break;
      moved.push(row);
      inTrash += row.chars;
    }
    await moveToTrash(tx, moved);
  }
  const deleted: Candidate[] = [];
  let bytes = tx.bytes;
  for (const row of await candidates(tx, 'trashed_at > 0 ORDER BY trashed_at, key LIMIT $1', MAX_ROOM)) {
    if (bytes <= targetBytes) break;
    deleted.push(row);
    bytes -= row.chars;
  }
  await deleteRows(tx, deleted);
  const ended = moved.filter(({ state }) => isEndedState(state)).length;
  return { ended, idle: moved.length - ended, deleted: deleted.length, bytes: tx.bytes };
}

/** Conversations that a full store may remove, in order. Those of the largest owner come first, and those of `local` last. */
async function victims(tx: Transaction, except: ReadonlySet<string>): Promise<Candidate[]> {
  const others = await tx.sql.all<{ principal: string }>(
    'SELECT principal FROM owner GROUP BY principal ORDER BY sum(chars) DESC LIMIT $1',
    MAX_ROOM,
  );
  const owners = [...others.map(({ principal }) => principal), OPERATOR];
  const found: Candidate[] = [];
  const add = (rows: readonly Candidate[]): void => {
    found.push(...rows.filter((row) => !row.isHeld && !except.has(row.id)));
  };
  for (const principal of owners) {
    if (found.length < MAX_ROOM) add(await endedOf(tx, principal, MAX_ROOM + except.size));
  }
  for (const principal of owners) {
    if (found.length < MAX_ROOM && principal !== OPERATOR)
      add(await idleOf(tx, principal, MAX_ROOM + except.size));
  }
  return found.slice(0, MAX_ROOM);
}

const endedOf = (tx: Transaction, principal: string, limit: number): Promise<readonly Candidate[]> =>
  candidates(tx, `principal = $1 AND ${ENDED} ORDER BY changed_at, key LIMIT $2`, principal, limit);

/** Idle and dormant conversations of an owner, oldest first. */
const idleOf = (tx: Transaction, principal: string, limit: number): Promise<readonly Candidate[]> =>
  candidates(
    tx,
    `principal = $1 AND trashed_at = 0 AND state NOT IN ('completed', 'canceled') AND ${IS_IDLE}
     ORDER BY changed_at, key LIMIT $2`,
    principal,
    limit,
  );

async function charsOf(tx: Transaction, principal: string): Promise<number> {
  const row = await tx.sql.get<{ chars: number }>(
    'SELECT coalesce(sum(chars), 0)::bigint AS chars FROM owner WHERE principal = $1',
    principal,
  );
  return row!.chars + tx.ownerChange(principal);
}

async function openOf(tx: Transaction, principal: string, limit: number): Promise<number> {
  const row = await tx.sql.get<{ open: number }>(
    `SELECT count(*) AS open FROM (SELECT 1 FROM conversation WHERE principal = $1 AND trashed_at = 0
       AND state IN ('working', 'input-required') LIMIT $2) AS found`,
    principal,
    limit,
  );
  return row!.open;
}
