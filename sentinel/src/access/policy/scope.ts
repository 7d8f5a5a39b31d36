// Requirements on the scopes of a token: a glob, or any_of, all_of and none_of over further requirements.
import type { Glob } from './glob.ts';

/** Levels of any_of, all_of and none_of around a glob. */
export const MAX_SCOPE_DEPTH = 5;

export const SCOPE_OPERATORS = Object.freeze(['any_of', 'all_of', 'none_of'] as const);

export type Scope =
  | { readonly operator: 'glob'; readonly glob: Glob }
  | { readonly operator: (typeof SCOPE_OPERATORS)[number]; readonly of: readonly Scope[] };

/** True if the granted scopes meet the requirement. */
export function meetsScope(scope: Scope, granted: readonly string[]): boolean {
  switch (scope.operator) {
    case 'glob':
      return granted.some((one) => scope.glob.matches(one));
    case 'any_of':
      return scope.of.some((one) => meetsScope(one, granted));
    case 'all_of':
      return scope.of.every((one) => meetsScope(one, granted));
    case 'none_of':
      return !scope.of.some((one) => meetsScope(one, granted));
  }
}
