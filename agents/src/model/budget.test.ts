import { describe, expect, it, vi } from 'vitest';
import { Budget, costOf, priceOf } from './budget.ts';

const prices = { fast: { input: 1, output: 10, cached_input: 0.25 }, smart: { input: 10, output: 100 } };
const usage = (prompt: number, completion: number, cached?: number) => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  total_tokens: prompt + completion,
  cached_tokens: cached,
});

describe('Budget', () => {
  it('ST-25 refuses the next call once the limit is reached, with the figures', () => {
    const budget = new Budget({ limitUsd: 0.001, prices });
    budget.check('fast');
    budget.charge('fast', usage(600, 50));
    expect(budget.remaining).toBe(0);
    expect(() => budget.check('fast')).toThrow(
      expect.objectContaining({ code: 'BUDGET_EXCEEDED', details: { limit_usd: 0.001, spent_usd: 0.0011 } }),
    );
  });

  it('ST-25 enforces a token limit', () => {
    const budget = new Budget({ limitTokens: 100, prices: {} });
    budget.charge('any', usage(60, 39));
    budget.check('any');
    budget.charge('any', usage(1, 0));
    expect(() => budget.check('any')).toThrow(expect.objectContaining({ code: 'BUDGET_EXCEEDED' }));
  });

  it('ST-25 warns once at the threshold', () => {
    const onWarn = vi.fn();
    const budget = new Budget({ limitUsd: 1, warnAt: 0.5, prices, onWarn });
    budget.charge('smart', usage(49_999, 0));
    expect(onWarn).not.toHaveBeenCalled();
    budget.charge('smart', usage(1, 0));
    budget.charge('smart', usage(10_000, 0));
    expect(onWarn).toHaveBeenCalledExactlyOnceWith(budget);
  });

  it('ST-25 lets a child spend from its parent, and stops it at the smaller of both limits', () => {
    const parent = new Budget({ limitUsd: 0.01, prices });
    const [a, b] = [parent.child({ limitUsd: 0.008 }), parent.child()];
    a.charge('smart', usage(500, 0));
    b.charge('smart', usage(400, 0));
    expect(a.remaining).toBeCloseTo(0.001);
    expect(b.remaining).toBeCloseTo(0.001);
    b.charge('smart', usage(100, 0));
    expect(() => a.check('smart')).toThrow(expect.objectContaining({ code: 'BUDGET_EXCEEDED' }));
    expect(parent.spent.total.usd).toBeCloseTo(0.01);
  });

  it('ST-25 refuses a model without a price before it is called, or lets it through as unpriced', () => {
    const strict = new Budget({ limitUsd: 1, prices });
    expect(() => strict.check('other')).toThrow(expect.objectContaining({ code: 'PRICE_UNKNOWN' }));
    expect(() => new Budget({ prices }).child({ limitUsd: 1 }).check('toString')).toThrow(/has no price/);
    const open = new Budget({ limitUsd: 1, prices, withoutPrice: 'unpriced' });
    open.check('other');
    open.charge('other', usage(100, 100));
    expect(open.spent.total).toMatchObject({ usd: 0, total_tokens: 200 });
    new Budget({ limitTokens: 5, prices: {} }).check('other');
  });

  it('ST-26 reports prompt, completion and cached tokens by model', () => {
    const budget = new Budget({ prices });
    budget.charge('fast', usage(100, 10, 40));
    budget.charge('fast', usage(50, 5));
    budget.charge('smart', usage(7, 3));
    const { total, byModel } = budget.spent;
    expect(byModel.fast).toMatchObject({
      calls: 2,
      prompt_tokens: 150,
      completion_tokens: 15,
      cached_tokens: 40,
    });
    expect(byModel.smart).toMatchObject({ calls: 1, prompt_tokens: 7, completion_tokens: 3 });
    expect(total).toMatchObject({ calls: 3, prompt_tokens: 157, completion_tokens: 18, total_tokens: 175 });
    expect(total.usd).toBeCloseTo(byModel.fast!.usd + byModel.smart!.usd);
  });

  it('prices cached prompt tokens at their own price', () => {
    expect(costOf(usage(1_000_000, 0, 400_000), prices.fast)).toBeCloseTo(0.6 + 0.1);
    expect(costOf(usage(1_000_000, 0, 400_000), prices.smart)).toBeCloseTo(10);
  });

  it('takes the first price whose pattern matches the name of the model', () => {
    const of = (input: number) => ({ input, output: 0 });
    const table = { 'gpt-*-mini': of(1), 'gpt-*': of(2), 'a*b*c': of(3), exact: of(4), 'x*x': of(5) };
    const priced = Object.entries({
      'gpt-4.1-mini': 1,
      'gpt-mini': 2,
      'gpt-': 2,
      abc: 3,
      'a-b-b-c': 3,
      'a-c': undefined,
      exact: 4,
      exactly: undefined,
      x: undefined,
      xx: 5,
      toString: undefined,
    });
    for (const [model, input] of priced) expect(priceOf(table, model)?.input, model).toBe(input);
    expect(priceOf({ '*': of(6) }, 'any')?.input).toBe(6);
    expect(priceOf({ '*a*': of(7) }, 'b'.repeat(100_000))).toBeUndefined();
  });

  it('adds reported spending to itself and its parents', () => {
    const far = new Budget({ prices });
    far.charge('fast', usage(10, 1));
    const parent = new Budget({ limitUsd: 1, prices });
    const child = parent.child();
    child.absorb(far.spent);
    expect(parent.spent).toEqual(far.spent);
  });
});
