// A compiled policy: the rules in the order of the file, the first of which that matches decides.
import type { Principal } from '@fame-fabric/shared';
import { type Action, OPERATOR_ACTIONS, type Origin } from './actions.ts';
import type { Glob } from './glob.ts';
import { type LimitEntry, limitsOf, matchesSubject, type PrincipalLimits, type Subject } from './limits.ts';
import { meetsScope, type Scope } from './scope.ts';

export type Effect = 'allow' | 'deny';

export interface Rule extends Subject {
  readonly id: string;
  /** Line in the file, from 1. */
  readonly line: number;
  readonly effect: Effect;
  /** Undefined matches every action. */
  readonly actions: ReadonlySet<Action> | undefined;
  /** Undefined matches every address, and requests without one. */
  readonly addresses: readonly Glob[] | undefined;
  readonly origins: ReadonlySet<Origin> | undefined;
  readonly scope: Scope | undefined;
}

export interface PolicyRequest {
  readonly principal: Principal;
  readonly action: Action;
  /** The address that is called or bound. Connect and Admin have none. */
  readonly address?: string | undefined;
  readonly origin?: Origin | undefined;
}

export interface Verdict {
  readonly effect: Effect;
  /** The rule that decided; undefined for the default effect. */
  readonly rule: Rule | undefined;
}

export interface PolicyParts {
  /** Name of the file, for texts. */
  readonly file: string;
  readonly defaultEffect: Effect;
  /** Line of `default_effect`; undefined if the file does not state it. */
  readonly defaultLine: number | undefined;
  readonly rules: readonly Rule[];
  readonly limits: readonly LimitEntry[];
  /** True if the file has only words of naylence's language. It decides naylence's actions then, and roles decide the others. */
  readonly isForeign: boolean;
}

export class Policy {
  readonly file: string;
  readonly isForeign: boolean;
  readonly rules: readonly Rule[];
  readonly #parts: PolicyParts;

  constructor(parts: PolicyParts) {
    this.file = parts.file;
    this.isForeign = parts.isForeign;
    this.rules = parts.rules;
    this.#parts = parts;
  }

  evaluate(request: PolicyRequest): Verdict {
    const rule = this.rules.find((one) => matches(one, request));
    if (rule !== undefined) return { effect: rule.effect, rule };
    const isLeftOut = !this.isForeign && OPERATOR_ACTIONS.has(request.action);
    return { effect: isLeftOut ? 'deny' : this.#parts.defaultEffect, rule: undefined };
  }

  /** Names the place that decided, such as `policy.yaml:12 (rule partners)`. */
  placeOf({ rule }: Verdict): string {
    if (rule !== undefined) return `${this.file}:${rule.line} (rule ${rule.id})`;
    const { defaultLine } = this.#parts;
    return defaultLine === undefined
      ? `${this.file} (no rule matches)`
      : `${this.file}:${defaultLine} (default_effect: no rule matches)`;
  }

  limitsOf(principal: Principal): PrincipalLimits {
    return limitsOf(this.#parts.limits, principal);
  }
}

function matches(rule: Rule, { principal, action, address, origin }: PolicyRequest): boolean {
  if (rule.actions !== undefined && !rule.actions.has(action)) return false;
  if (rule.origins !== undefined && (origin === undefined || !rule.origins.has(origin))) return false;
  if (rule.addresses !== undefined) {
    if (address === undefined || address === '') return false;
    if (!rule.addresses.some((glob) => glob.matches(address))) return false;
  }
  return (
    matchesSubject(rule, principal) &&
    (rule.scope === undefined || meetsScope(rule.scope, principal.scopes ?? []))
  );
}
