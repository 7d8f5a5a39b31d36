// Reads the text of a policy: checks it in one pass that reports every fault with its place, and compiles it. The language is that of
// naylence, with actions, `principal`, `role` and `limits` of our own. Words that naylence ignores are warnings here, so that its files
// load; a word that is close to a known one is an error, because a misspelt condition would widen its rule.
import { closestMatch, cutText } from '@fame-fabric/shared/internal';
import {
  ACTIONS,
  type Action,
  findWord,
  ORIGINS,
  type Origin,
  OWN_ACTIONS,
  ROLES,
  ROUTE_ACTIONS,
} from './actions.ts';
import { compileGlob, type Glob, globFault } from './glob.ts';
import { LIMIT_FIELDS, type LimitEntry, type PrincipalLimits, type Subject } from './limits.ts';
import { type Effect, Policy, type Rule } from './policy.ts';
import { type PolicyFault, type PolicyPath, PolicyYaml } from './policy-yaml.ts';
import { MAX_SCOPE_DEPTH, SCOPE_OPERATORS, type Scope } from './scope.ts';

export const MAX_POLICY_CHARS = 1_048_576;
const MAX_RULES = 1_000;
/** Globs of a list, requirements of a scope operator, and words of any other list. */
const MAX_LIST = 200;

const POLICY_TYPE = 'BasicAuthorizationPolicy';
const TOP_KEYS = ['version', 'type', 'default_effect', 'rules', 'limits'];
const OWN_RULE_KEYS = ['principal', 'role'];
const SKIPPED_KEYS = ['when', 'frame_type'];
const RULE_KEYS = [
  'id',
  'description',
  'effect',
  'action',
  'address',
  'origin_type',
  'scope',
  ...SKIPPED_KEYS,
  ...OWN_RULE_KEYS,
];
const LIMIT_KEYS = ['id', 'description', 'principal', 'role', ...Object.keys(LIMIT_FIELDS)];
const EFFECTS: readonly Effect[] = ['allow', 'deny'];

export interface ParsedPolicy {
  /** Undefined if there is an error. */
  readonly policy: Policy | undefined;
  /** Errors and warnings, in the order of the file. */
  readonly faults: readonly PolicyFault[];
}

/** Parses a policy; `file` is its name in texts. */
export function parsePolicy(file: string, text: string): ParsedPolicy {
  if (text.length > MAX_POLICY_CHARS) {
    const message = `the file is longer than ${MAX_POLICY_CHARS} characters`;
    return { policy: undefined, faults: [{ level: 'error', message, line: 1, column: 1 }] };
  }
  return new Parser(file, new PolicyYaml(text)).parse();
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const quoted = (value: unknown): string => `"${cutText(String(value), 64)}"`;

class Parser {
  readonly #file: string;
  readonly #yaml: PolicyYaml;
  readonly #faults: PolicyFault[];
  #usesOwnWords = false;

  constructor(file: string, yaml: PolicyYaml) {
    this.#file = file;
    this.#yaml = yaml;
    this.#faults = [...yaml.faults];
  }

  parse(): ParsedPolicy {
    const policy = this.#faults.length === 0 ? this.#policy(this.#yaml.data ?? {}) : undefined;
    const faults = this.#faults.sort((a, b) => a.line - b.line || a.column - b.column);
    return { policy: faults.some(({ level }) => level === 'error') ? undefined : policy, faults };
  }

  #error(path: PolicyPath, message: string): void {
    this.#faults.push({ level: 'error', message, ...this.#yaml.placeOf(path) });
  }

  #warn(path: PolicyPath, message: string): void {
    this.#faults.push({ level: 'warning', message, ...this.#yaml.placeOf(path) });
  }

  #policy(data: unknown): Policy | undefined {
    if (!isFields(data)) {
      this.#error([], 'the file must be a mapping with default_effect and rules');
      return undefined;
    }
    this.#checkKeys([], data, TOP_KEYS);
    const { type, default_effect: effect, rules, limits } = data;
    if (type !== undefined && type !== POLICY_TYPE) {
      this.#error(['type'], `unknown type ${quoted(type)}; the only type is ${POLICY_TYPE}`);
    }
    const defaultEffect =
      effect === undefined || effect === null ? 'deny' : this.#effect(['default_effect'], effect);
    const compiled = this.#items(['rules'], rules, MAX_RULES, (path, fields) => this.#rule(path, fields));
    this.#checkIds(compiled);
    const entries = this.#items(['limits'], limits, MAX_RULES, (path, fields) => this.#limit(path, fields));
    if (limits !== undefined) this.#usesOwnWords = true;
    if (defaultEffect === 'allow' && this.#usesOwnWords) {
      const note =
        'default_effect: allow lets every principal call, bind and advertise; Watch, Admin and Conversations still need a rule';
      this.#warn(['default_effect'], note);
    }
    return new Policy({
      file: this.#file,
      defaultEffect: defaultEffect ?? 'deny',
      defaultLine: 'default_effect' in data ? this.#yaml.placeOf(['default_effect']).line : undefined,
      rules: compiled.filter((rule) => rule !== undefined),
      limits: entries,
      isForeign: !this.#usesOwnWords,
    });
  }

  #checkKeys(path: PolicyPath, fields: Fields, known: readonly string[]): void {
    for (const key of Object.keys(fields)) {
      if (known.includes(key)) continue;
      const near = closestMatch(key, known);
      if (near !== undefined)
        this.#error([...path, key], `unknown key ${quoted(key)}; did you mean "${near}"?`);
      else
        this.#warn([...path, key], `unknown key ${quoted(key)} is ignored; known keys: ${known.join(', ')}`);
    }
  }

  #items<Item>(
    path: PolicyPath,
    value: unknown,
    limit: number,
    read: (path: PolicyPath, fields: Fields) => Item,
  ): Item[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) {
      this.#error(path, `${path.at(-1)} must be a list`);
      return [];
    }
    if (value.length > limit) {
      this.#error(path, `${path.at(-1)} has ${value.length} items; the limit is ${limit}`);
      return [];
    }
    return value.flatMap((item: unknown, index) => {
      if (isFields(item)) return [read([...path, index], item)];
      this.#error([...path, index], 'must be a mapping');
      return [];
    });
  }

  #checkIds(rules: readonly (Rule | undefined)[]): void {
    const seen = new Map<string, number>();
    for (const [index, rule] of rules.entries()) {
      if (rule === undefined) continue;
      const before = seen.get(rule.id);
      if (before !== undefined)
        this.#warn(['rules', index], `the rule in line ${before} has the id ${quoted(rule.id)} too`);
      seen.set(rule.id, rule.line);
    }
  }

  // Undefined for a rule that is skipped.
  #rule(path: PolicyPath, fields: Fields): Rule | undefined {
    this.#checkKeys(path, fields, RULE_KEYS);
    const at = (key: string): PolicyPath => [...path, key];
    const { id = `rule_${path.at(-1)}`, effect, action, address, origin_type: origin, scope, when } = fields;
    if (id !== null && typeof id !== 'string' && typeof id !== 'number')
      this.#error(at('id'), 'id must be text');
    if (effect === undefined) this.#error(path, 'effect is missing: allow or deny');
    const rule: Rule = {
      id: String(id ?? `rule_${path.at(-1)}`),
      line: this.#yaml.placeOf(path).line,
      effect: (effect === undefined ? undefined : this.#effect(at('effect'), effect)) ?? 'deny',
      actions: this.#actions(at('action'), action),
      addresses: this.#globs(at('address'), address),
      origins: this.#origins(at('origin_type'), origin),
      scope: scope === undefined ? undefined : this.#scope(at('scope'), scope, 0),
      ...this.#subject(path, fields),
    };
    if (OWN_RULE_KEYS.some((key) => key in fields)) this.#usesOwnWords = true;
    if (rule.addresses !== undefined && isOnly(rule.actions, ['Connect', 'Admin'])) {
      this.#warn(at('address'), 'Connect and Admin have no address: the rule never matches');
    }
    if (when !== undefined && typeof when !== 'string') this.#error(at('when'), 'when must be text');
    // naylence skips a rule with an empty frame_type, and not one with an empty `when`.
    const skipped = SKIPPED_KEYS.filter((key) => key in fields && !(key === 'when' && when === ''));
    for (const key of skipped) this.#warn(at(key), `the rule is skipped: "${key}" is not supported`);
    return skipped.length > 0 ? undefined : rule;
  }

  #limit(path: PolicyPath, fields: Fields): LimitEntry {
    const limits: { -readonly [Field in keyof PrincipalLimits]: PrincipalLimits[Field] } = {};
    for (const key of Object.keys(fields)) {
      if (LIMIT_KEYS.includes(key)) continue;
      const near = closestMatch(key, LIMIT_KEYS);
      const hint = near === undefined ? `known keys: ${LIMIT_KEYS.join(', ')}` : `did you mean "${near}"?`;
      this.#error([...path, key], `unknown key ${quoted(key)}; ${hint}`);
    }
    for (const [key, field] of Object.entries(LIMIT_FIELDS)) {
      const value = fields[key];
      if (value === undefined) continue;
      const isMoney = field === 'moneyPerDay';
      const isValid =
        typeof value === 'number' &&
        value >= 0 &&
        (isMoney ? Number.isFinite(value) : Number.isSafeInteger(value));
      if (isValid) limits[field] = value;
      else
        this.#error(
          [...path, key],
          `${key} must be a ${isMoney ? '' : 'whole '}number from 0, not ${quoted(value)}`,
        );
    }
    if (Object.keys(limits).length === 0) this.#warn(path, 'the entry states no limit');
    return { limits, ...this.#subject(path, fields) };
  }

  #subject(path: PolicyPath, { principal, role }: Fields): Subject {
    const roles = this.#globs([...path, 'role'], role);
    for (const { text } of roles ?? []) {
      if (/[*?]/.test(text) || (ROLES as readonly string[]).includes(text)) continue;
      this.#error([...path, 'role'], `unknown role ${quoted(text)}; ${hintOf(text, ROLES)}`);
    }
    return { principals: this.#globs([...path, 'principal'], principal), roles };
  }

  #effect(path: PolicyPath, value: unknown): Effect | undefined {
    const effect = EFFECTS.find((one) => one === value);
    if (effect === undefined) this.#error(path, `${path.at(-1)} must be allow or deny, not ${quoted(value)}`);
    return effect;
  }

  // The texts of a field that is a text or a list of texts. Undefined if the field is missing or faulty.
  #texts(path: PolicyPath, value: unknown): string[] | undefined {
    if (value === undefined) return undefined;
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (items.length === 0 || items.length > MAX_LIST) {
      this.#error(path, `${path.at(-1)} must have 1 to ${MAX_LIST} items`);
      return undefined;
    }
    return items.flatMap((item, index) => {
      if (typeof item === 'string' && item.trim() !== '') return [item.trim()];
      const place = Array.isArray(value) ? [...path, index] : path;
      this.#error(place, `${path.at(-1)} must be text or a list of texts, none of them empty`);
      return [];
    });
  }

  #actions(path: PolicyPath, value: unknown): ReadonlySet<Action> | undefined {
    const texts = this.#texts(path, value);
    if (texts === undefined) return undefined;
    const actions = new Set<Action>();
    for (const text of texts) {
      if (text === '*') continue;
      const action = findWord(text, ACTIONS);
      if (action === undefined) this.#error(path, `unknown action ${quoted(text)}; ${hintOf(text, ACTIONS)}`);
      else actions.add(action);
      if (action === 'Call') for (const route of ROUTE_ACTIONS) actions.add(route);
      if (OWN_ACTIONS.some((one) => one === action)) this.#usesOwnWords = true;
    }
    return texts.includes('*') ? undefined : actions;
  }

  #origins(path: PolicyPath, value: unknown): ReadonlySet<Origin> | undefined {
    const texts = this.#texts(path, value);
    if (texts === undefined) return undefined;
    const origins = new Set<Origin>();
    for (const text of texts) {
      const origin = findWord(text, ORIGINS);
      if (origin === undefined)
        this.#error(path, `unknown origin_type ${quoted(text)}; ${hintOf(text, ORIGINS)}`);
      else origins.add(origin);
    }
    return origins;
  }

  #globs(path: PolicyPath, value: unknown): Glob[] | undefined {
    return this.#texts(path, value)?.map((text) => this.#glob(path, text));
  }

  #glob(path: PolicyPath, text: string): Glob {
    const fault = globFault(text);
    if (fault !== undefined) this.#error(path, `${quoted(text)}: ${fault}`);
    return compileGlob(fault === undefined ? text : '');
  }

  #scope(path: PolicyPath, value: unknown, depth: number): Scope | undefined {
    if (typeof value === 'string') return { operator: 'glob', glob: this.#glob(path, value) };
    const [key, ...more] = isFields(value) ? Object.keys(value) : [];
    const operator = SCOPE_OPERATORS.find((one) => one === key);
    if (!isFields(value) || key === undefined || more.length > 0) {
      this.#error(path, `a scope is a text, or a mapping with one of ${SCOPE_OPERATORS.join(', ')}`);
      return undefined;
    }
    if (operator === undefined) {
      this.#error([...path, key], `unknown operator ${quoted(key)}; ${hintOf(key, SCOPE_OPERATORS)}`);
      return undefined;
    }
    const items = value[operator];
    if (!Array.isArray(items) || items.length > MAX_LIST) {
      this.#error([...path, operator], `${operator} must be a list of at most ${MAX_LIST} scopes`);
      return undefined;
    }
    if (depth === MAX_SCOPE_DEPTH && items.length > 0) {
      this.#error([...path, operator], `scopes are nested deeper than ${MAX_SCOPE_DEPTH} levels`);
      return undefined;
    }
    const of = items.map((item: unknown, index) => this.#scope([...path, operator, index], item, depth + 1));
    return { operator, of: of.filter((one) => one !== undefined) };
  }
}

const isOnly = (actions: ReadonlySet<Action> | undefined, only: readonly Action[]): boolean =>
  actions !== undefined && actions.size > 0 && [...actions].every((action) => only.includes(action));

function hintOf(text: string, words: readonly string[]): string {
  const near = closestMatch(text, words);
  return near === undefined ? `use one of ${words.join(', ')}` : `did you mean ${near}?`;
}
