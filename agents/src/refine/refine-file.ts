// Loads a refining dialogue from a YAML file, with the same strict checks as a team file.
import { readFile } from 'node:fs/promises';
import { tryParseAddress } from '@fame-fabric/shared';
import { z } from 'zod';
import type { PriceTable } from '../model/budget.ts';
import type { ChatModel } from '../model/model.ts';
import type { ModelClasses } from '../model/model-classes.ts';
import type { ConversationStore } from '../store/store.ts';
import { type ConfigPath, type Diagnostic, TeamConfigError } from '../yaml/diagnostic.ts';
import { schemaFaults, YamlFile } from '../yaml/yaml-file.ts';
import { RefineAgent } from './refine-agent.ts';

const name = z.string().min(1).max(128);
const address = name.refine(
  (text) => tryParseAddress(text),
  'must be an address, such as intake@fame.fabric',
);
const handoff = {
  agent: z
    .string()
    .refine(
      (text) => /^capability:./.test(text) || tryParseAddress(text),
      'must be an address, or capability: and a name',
    ),
  with: z.array(z.enum(['goals', 'goal_sentence'])).optional(),
};
const budget = { limit_usd: z.number().positive(), warn_at: z.number().min(0).max(1).optional() };
const price = {
  input: z.number().min(0),
  output: z.number().min(0),
  cached_input: z.number().min(0).optional(),
};
const shape = {
  kind: z.literal('refine'),
  address: address.optional(),
  description: z.string().optional(),
  /** Names of models by class; the dialogue runs on `smart`. */
  models: z.record(name, name).optional(),
  max_iterations: z.int().min(1).max(100).optional(),
  finish_words: z.array(z.string().min(1)).min(1).optional(),
  greeting: z.string().min(1).optional(),
  // biome-ignore lint/suspicious/noThenProperty: it is the word that the file uses; nothing awaits the schema
  then: z.strictObject(handoff).optional(),
  budget: z.strictObject(budget).optional(),
  /** USD for a million tokens, by the name of the model. */
  prices: z.record(name, z.strictObject(price)).optional(),
};
const RefineConfig = z.strictObject(shape).refine((config) => !config.budget || config.prices, {
  path: ['budget'],
  message: 'needs prices to count with',
});
export type RefineConfigT = z.output<typeof RefineConfig>;

/** Returns the known keys at a path of a file. */
export const refineKeysAt = (path: ConfigPath): readonly string[] => {
  if (path.length === 0) return Object.keys(shape);
  if (path[0] === 'then') return Object.keys(handoff);
  if (path[0] === 'budget') return Object.keys(budget);
  return path[0] === 'prices' && path.length === 2 ? Object.keys(price) : [];
};

/** Reads and checks a file. Faults are returned, not thrown. */
export async function readRefineFile(
  path: string,
): Promise<{ config: RefineConfigT | undefined; diagnostics: readonly Diagnostic[] }> {
  const file = new YamlFile(path, await readFile(path, 'utf8'));
  if (!file.isReadable) return { config: undefined, diagnostics: file.faults };
  const checked = RefineConfig.safeParse(file.data);
  if (checked.success) return { config: checked.data, diagnostics: file.faults };
  return {
    config: undefined,
    diagnostics: [...file.faults, ...schemaFaults(checked.error, refineKeysAt, { file })],
  };
}

/** Builds the agent that a file describes. @throws {TEAM_CONFIG} with all faults */
export async function loadRefineAgent(
  path: string,
  { models, store }: { models: (name: string) => ChatModel; store?: ConversationStore },
): Promise<RefineAgent> {
  const { config, diagnostics } = await readRefineFile(path);
  if (!config || diagnostics.length > 0) throw new TeamConfigError(diagnostics);
  const { max_iterations, finish_words, then: next, budget: limit } = config;
  const named = Object.entries(config.models ?? {}).map(
    ([modelClass, model]) => [modelClass, models(model)] as const,
  );
  const classes: ModelClasses = { default: models('default'), ...Object.fromEntries(named) };
  return new RefineAgent({
    models: { ...classes, smart: classes.smart ?? classes.default },
    store,
    address: config.address,
    description: config.description,
    maxIterations: max_iterations,
    finishWords: finish_words,
    greeting: config.greeting,
    handoffTo: next,
    budget: limit && { limitUsd: limit.limit_usd, warnAt: limit.warn_at, prices: pricesOf(config) },
  });
}

const pricesOf = ({ prices = {} }: RefineConfigT): PriceTable =>
  Object.fromEntries(
    Object.entries(prices).map(([model, { input, output, cached_input }]) => [
      model,
      { input, output, ...(cached_input === undefined ? {} : { cached_input }) },
    ]),
  );
