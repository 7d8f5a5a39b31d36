// Sums over the turns that the page has.
import type { Turn } from '../../fabric/conversation/turns.ts';

export interface Totals {
  tokens: number;
  /** Undefined if no turn has a known cost, or if currencies differ. */
  cost: { amount: number; currency: string } | undefined;
}

export function totalsOf(turns: readonly Turn[]): Totals {
  const costs = turns.flatMap(({ cost }) => (typeof cost === 'object' ? [cost] : []));
  const [first] = costs;
  const hasOneCurrency = costs.every(({ currency }) => currency === first?.currency);
  return {
    tokens: turns.reduce((sum, { usage }) => sum + (usage?.total_tokens ?? 0), 0),
    cost:
      first && hasOneCurrency
        ? { amount: costs.reduce((sum, { amount }) => sum + amount, 0), currency: first.currency }
        : undefined,
  };
}
