// Reads FAME_PRICES_FILE, the file with the prices of models.
import { readFile } from 'node:fs/promises';
import { FabricError, type FabricErrorOptions } from '@fame-fabric/shared';
import { errorMessage } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import type { PriceTable } from '../model/budget.ts';
import type { Diagnostic } from '../yaml/diagnostic.ts';
import { schemaFaults, YamlFile } from '../yaml/yaml-file.ts';

/** Prices of models, in the form of `BudgetLimits`. */
export interface Prices {
  readonly prices: PriceTable;
  readonly currency: string;
}

const MAX_PRICES = 1_000;

const amount = z.number().min(0).max(1_000_000);
const priceShape = {
  /** Name of a model; `*` stands for any characters. */
  model: z.string().min(1).max(256),
  /** A million prompt tokens. */
  input: amount,
  /** A million prompt tokens that the server had in its cache. @default input */
  cached: amount.optional(),
  /** A million tokens of the answer. */
  output: amount,
};
const shape = {
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code, such as USD')
    .default('USD'),
  prices: z.array(z.strictObject(priceShape)).min(1).max(MAX_PRICES),
};
const PricesFile = z.strictObject(shape);

/** Reads a file of prices. @throws {CONFIG_INVALID} with every fault and its line */
export async function readPricesFile(path: string): Promise<Prices> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw invalid(`FAME_PRICES_FILE cannot be read: ${errorMessage(error)}`);
  }
  const file = new YamlFile(path, text);
  const checked = file.isReadable ? PricesFile.safeParse(file.data) : undefined;
  const faults: Diagnostic[] = [...file.faults];
  if (checked?.error) {
    const known = (at: readonly unknown[]): string[] => Object.keys(at.length === 0 ? shape : priceShape);
    faults.push(...schemaFaults(checked.error, known, { file }));
  }
  const { prices = [], currency = 'USD' } = checked?.data ?? {};
  const seen = new Set<string>();
  for (const [i, { model }] of prices.entries()) {
    const place = file.placeOf(['prices', i, 'model']);
    if (seen.has(model)) faults.push({ ...DUPLICATE, message: `"${model}" has a price above`, place });
    seen.add(model);
  }
  if (faults.length > 0) {
    const lines = faults.map(line);
    throw invalid(`FAME_PRICES_FILE has faults:\n${lines.join('\n')}`, { details: { faults: lines } });
  }
  const entries = prices.map(({ model, input, output, cached }) => {
    return [model, { input, output, ...(cached === undefined ? {} : { cached_input: cached }) }] as const;
  });
  return { prices: Object.fromEntries(entries), currency };
}

const DUPLICATE = { code: 'TEAM_VALUE', level: 'error', path: [] } as const;

const line = ({ place, message }: Diagnostic): string =>
  place ? `${place.file}:${place.line}:${place.column} ${message}` : message;

const invalid = (message: string, options?: FabricErrorOptions): FabricError =>
  new FabricError('CONFIG_INVALID', message, options);
