// Finds misspelt environment variables, which have no effect.
import { closestMatch, type Environment, type Variable } from '@fame-fabric/shared/internal';

const MAX_TYPOS = 2;

/**
 * Finds variables with misspelt names, with the name that was probably meant. Omits a name that resembles none of `known`: it may
 * belong to another program.
 */
export function misspeltVariables(
  env: Environment,
  known: readonly Variable[],
): { name: string; meant: string }[] {
  const names = known.map(({ name }) => name);
  return Object.keys(env).flatMap((name) => {
    if (!/^(FAME|OPENAI|MODEL)_/.test(name) || names.includes(name)) return [];
    const meant = closestMatch(name, names, MAX_TYPOS);
    return meant ? [{ name, meant }] : [];
  });
}

/** Returns a line for each misspelt variable. */
export const misspeltWarnings = (env: Environment, known: readonly Variable[]): string[] =>
  misspeltVariables(env, known).map(
    ({ name, meant }) => `${name} is set, and nothing reads it. Did you mean ${meant}?`,
  );
