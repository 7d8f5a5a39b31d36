import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, it } from 'vitest';
import { outcomeContent } from '../tool-outcome.ts';
import { ToolSet } from '../tool-set.ts';
import { calculate } from './calculate.ts';
import { standardTools } from './standard-tools.ts';

const set = new ToolSet(standardTools(new ManualClock(Date.UTC(2024, 1, 29, 23, 30))));
const use = async (name: string, args: Record<string, unknown>): Promise<unknown> => {
  const calls = [{ ok: true as const, index: 0, id: 'c', name, args, rawArguments: '' }];
  const [outcome] = await set.executeAll(calls, { signal: new AbortController().signal });
  return JSON.parse(outcomeContent(outcome!));
};

describe('standard tools', () => {
  it('return the weather of three cities, and `unknown` for others', async () => {
    const weather = (location: string) => use('get_current_weather', { location });
    expect(await weather('Beijing, China')).toEqual({
      location: 'Beijing',
      temperature: '10',
      unit: 'celsius',
    });
    expect(await weather('SAN FRANCISCO, CA')).toEqual({
      location: 'San Francisco',
      temperature: '72',
      unit: 'fahrenheit',
    });
    expect(await weather('paris')).toEqual({ location: 'Paris', temperature: '22', unit: 'celsius' });
    expect(await weather('Oslo')).toEqual({ location: 'Oslo', temperature: 'unknown' });
    expect(await use('get_current_weather', { location: 'Paris', unit: 'kelvin' })).toMatchObject({
      error: { code: 'invalid_args' },
    });
  });

  it('return the time in UTC and in a time zone', async () => {
    expect(await use('clock', {})).toMatchObject({ utc: '2024-02-29T23:30:00.000Z', weekday: 'Thursday' });
    expect(await use('clock', { time_zone: 'Asia/Tokyo' })).toEqual({
      utc: '2024-02-29T23:30:00.000Z',
      local: '2024-03-01 08:30:00',
      time_zone: 'Asia/Tokyo',
      weekday: 'Friday',
    });
    expect(await use('clock', { time_zone: 'Nowhere' })).toMatchObject({
      error: { code: 'failed', hint: 'Use a name such as Europe/Paris' },
    });
  });

  it('calculate expressions, and explain a fault', async () => {
    expect(await use('calculator', { expression: '6 * 7' })).toEqual({ expression: '6 * 7', result: 42 });
    expect(await use('calculator', { expression: '6 *' })).toMatchObject({
      error: {
        code: 'failed',
        message: 'The expression is incomplete, at 3',
        hint: expect.stringContaining('sqrt'),
      },
    });
  });
});

describe('calculate', () => {
  const values: [string, number][] = [
    ['1 + 2 * 3', 7],
    ['(1 + 2) * 3', 9],
    ['2^3^2', 512],
    ['-2^2', -4],
    ['2^-1', 0.5],
    ['2 ** 10', 1024],
    ['7 % 4 - -1', 4],
    ['0.1 + 0.2', 0.3],
    ['.5e1 × 2 ÷ 4', 2.5],
    ['SQRT(16) + max(1, 5, 3)', 9],
    ['round(pi * 100) / 100', 3.14],
    ['log(1000) + ln(e)', 4],
  ];
  for (const [expression, value] of values) {
    it(`${expression} = ${value}`, () => expect(calculate(expression)).toBeCloseTo(value, 12));
  }

  const faults: [string, RegExp][] = [
    ['1 / 0', /Division by zero/],
    ['2 +* 3', /"\*" is not expected here, at 3/],
    ['(1 + 2', /"\)" is missing/],
    ['1 2', /"2" is not expected here/],
    ['process.exit()', /"process" is not known/],
    ['constructor', /"constructor" is not known/],
    ['sqrt(1, 2)', /takes one value/],
    ['sqrt(-1)', /not a finite number/],
    ['9^9^9', /not a finite number/],
    ['('.repeat(900), /nested too deep/],
    ['1'.repeat(1_001), /longer than 1000/],
  ];
  for (const [expression, fault] of faults) {
    it(`refuses ${expression.slice(0, 20)}`, () => expect(() => calculate(expression)).toThrow(fault));
  }
});
