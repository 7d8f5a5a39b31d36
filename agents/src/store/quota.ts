// Use of the quotas of principals, which a store keeps so that they hold across restarts and processes.

/** `cost` is in the currency of the price list. */
export type QuotaUnit = 'turns' | 'tokens' | 'cost';

/** A change of one counter. */
export interface QuotaChange {
  readonly unit: QuotaUnit;
  /** End of the period of the counter: wall time in ms since the epoch. */
  readonly endsAt: number;
  /** Use that is known. */
  readonly used: number;
  /** Most that calls in flight may still use; negative when such a call has ended. */
  readonly reserved: number;
  /** The change is refused if the counter has reached this limit, reservations included. @default no limit */
  readonly limit?: number | undefined;
}

/** A change that was refused. */
export interface QuotaRefusal {
  readonly unit: QuotaUnit;
  /** True if the limit is used up. False if calls in flight reserve the rest of it. */
  readonly isUsedUp: boolean;
}

/** One counter: the principal, the unit and the period name it. */
export interface QuotaCounter {
  readonly used: number;
  readonly reserved: number;
}

/** Returns why a change is refused; undefined if it is not. */
export function refusalOf({ unit, limit }: QuotaChange, counter: QuotaCounter): QuotaRefusal | undefined {
  if (limit === undefined || counter.used + counter.reserved < limit) return undefined;
  return { unit, isUsedUp: counter.used >= limit };
}

export const changed = (counter: QuotaCounter, { used, reserved }: QuotaChange): QuotaCounter => ({
  used: counter.used + used,
  reserved: Math.max(0, counter.reserved + reserved),
});
