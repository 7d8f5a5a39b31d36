import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readPricesFile } from './prices-file.ts';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'fame-prices-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function read(text: string) {
  const path = join(directory, 'prices.yaml');
  await writeFile(path, text);
  return readPricesFile(path);
}
const faultOf = async (text: string): Promise<string> => {
  const error: { code?: string; message: string } = await read(text).then(
    () => ({ message: 'no fault' }),
    (caught) => caught,
  );
  expect(error.code).toBe('CONFIG_INVALID');
  return error.message.replaceAll(`${join(directory, 'prices.yaml')}:`, '');
};

it('reads the prices in their order, and the currency', async () => {
  const { prices, currency } = await read(`
currency: EUR
prices:
  - { model: "gpt-4.1-mini*", input: 0.4, cached: 0.1, output: 1.6 }
  - { model: "*", input: 2, output: 8 }
`);
  expect(currency).toBe('EUR');
  expect(Object.entries(prices)).toEqual([
    ['gpt-4.1-mini*', { input: 0.4, cached_input: 0.1, output: 1.6 }],
    ['*', { input: 2, output: 8 }],
  ]);
  expect((await read('prices: [{ model: a, input: 0, output: 0 }]')).currency).toBe('USD');
});

it('reports every fault with its line', async () => {
  expect(
    await faultOf(`currency: euro
prices:
  - { model: a, input: -1, output: 1 }
  - { model: b, inputs: 1, output: 1 }
`),
  ).toBe(
    [
      'FAME_PRICES_FILE has faults:',
      '1:1 currency: must be an ISO 4217 code, such as USD',
      '3:17 prices.0.input: Too small: expected number to be >=0',
      '4:5 prices.1.input: Invalid input: expected number, received undefined',
      '4:17 unknown key "inputs"; did you mean "input"?',
    ].join('\n'),
  );
  expect(
    await faultOf('prices: [{ model: a, input: 1, output: 1 }, { model: a, input: 2, output: 1 }]'),
  ).toContain('1:47 "a" has a price above');
  expect(await faultOf('prices: []')).toContain('1:1 prices: Too small');
  expect(await faultOf('prices: [')).toMatch(/^FAME_PRICES_FILE has faults:\n1:\d+ /);
  expect(await faultOf('')).toContain('expected object');
});

it('names a file that cannot be read', async () => {
  await expect(readPricesFile(join(directory, 'none.yaml'))).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/^FAME_PRICES_FILE cannot be read: ENOENT.*none\.yaml/),
  });
});
