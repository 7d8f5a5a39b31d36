// Cost of model calls in outcomes and reports.

/** `unknown` if a model has no price or a server reported no usage. */
export type Cost = { readonly amount: number; readonly currency: string } | 'unknown';

/** Adds two costs. The sum is unknown if one of them is, or if their currencies differ. */
export const addCost = (a: Cost, b: Cost): Cost =>
  a === 'unknown' || b === 'unknown' || a.currency !== b.currency
    ? 'unknown'
    : { amount: a.amount + b.amount, currency: a.currency };
