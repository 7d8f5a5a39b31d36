// Fields of request bodies. Clients write null for an absent field.
import { invalid } from './openai-error.ts';

export type Fields = Readonly<Record<string, unknown>>;

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** True for a field that the client set. */
export const isGiven = (value: unknown): boolean => value !== undefined && value !== null;

/** @throws {PARAMS_INVALID} */
export function numberOf(value: unknown, param: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw invalid(param, 'must be a number.');
}

/** @throws {PARAMS_INVALID} */
export function flagOf(value: unknown, param: string, otherwise: boolean): boolean {
  if (!isGiven(value)) return otherwise;
  if (typeof value === 'boolean') return value;
  throw invalid(param, 'must be true or false.');
}
