// Time of a store, for its retention. The wall clock of a machine may jump, so a store also counts the time in which a process had
// it open. A forward jump of more than a day that the running time does not explain holds all sweeps: the clock may be wrong, or
// the machine was off, and the owner may want to look at old conversations first.

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** Largest forward jump of the wall clock that does not hold sweeps. */
const MAX_JUMP_MS = DAY_MS;
/** Running time for which a jump holds sweeps. */
const HOLD_MS = 24 * HOUR_MS;
/** Time in the trash, of both clocks, before a conversation is deleted. */
export const TRASH_MS = 7 * DAY_MS;
export const TRASH_RUNNING_MS = 24 * HOUR_MS;

/** The recorded time of a store. */
export interface TimeRecord {
  /** Wall time of the record, in ms since the epoch; 0 before the first. */
  readonly wallAt: number;
  /** Running time of the store since it exists, in ms. */
  readonly runningMs: number;
  /** Running time up to which sweeps are held. */
  readonly heldUntilMs: number;
}

export interface StoreTime {
  readonly runningMs: number;
  /** Remaining running time of the hold of sweeps, in ms; 0 if there is none. */
  readonly heldMs: number;
  /** Forward jump of the wall clock that this reading found, in ms; 0 if none holds sweeps. */
  readonly jumpMs: number;
}

export const NO_TIME: TimeRecord = Object.freeze({ wallAt: 0, runningMs: 0, heldUntilMs: 0 });

/** Reads both clocks, `elapsedMs` of running time after `last`. */
export function readTime(
  last: TimeRecord,
  now: number,
  elapsedMs: number,
): { record: TimeRecord; time: StoreTime } {
  const runningMs = last.runningMs + elapsedMs;
  const jump = last.wallAt === 0 ? 0 : now - (last.wallAt + elapsedMs);
  const isJump = jump > MAX_JUMP_MS;
  const record = {
    wallAt: now,
    runningMs,
    heldUntilMs: isJump ? runningMs + HOLD_MS : last.heldUntilMs,
  };
  return { record, time: { ...timeOf(record), jumpMs: isJump ? jump : 0 } };
}

export const timeOf = ({ runningMs, heldUntilMs }: TimeRecord): StoreTime => ({
  runningMs,
  heldMs: Math.max(0, heldUntilMs - runningMs),
  jumpMs: 0,
});
