// A compiled agent of a team: its functions with their schemas, and its routes by value.

import type { ToolChoice } from '../model/model.ts';
import type { ApprovalRule } from '../tools/approval-rule.ts';
import { type CompletionFunction, functionFromJsonSchema } from '../tools/schema/completion-function.ts';
import { type JsonObject, schemaOfZod } from '../tools/schema/json-schema.ts';
import { nearestOf } from '../tools/schema/near-enum.ts';
import { type AbilityDef, type AbilityFn, DEFAULT_TIMEOUT_MS } from './ability.ts';
import type { AgentConfigT, FunctionConfig } from './team-config.ts';

interface CompiledAbility {
  readonly run: AbilityFn;
  readonly timeoutMs: number;
  readonly idempotent: boolean;
  readonly approval: ApprovalRule<JsonObject> | undefined;
}

export interface CompiledAgent {
  readonly name: string;
  readonly config: AgentConfigT;
  readonly functions: ReadonlyMap<string, CompletionFunction<string, JsonObject>>;
  /** Functions that run here: those of `functions`, and those that the state map calls. */
  readonly abilities: ReadonlyMap<string, CompiledAbility>;
  /** Tool choice; `undefined` without functions. */
  readonly choice: ToolChoice | undefined;
  /** True if the agent can only choose a route. */
  readonly mustRoute: boolean;
  /** The key of the route of a value; `undefined` when there is none. Without `enum`, case and blanks may differ. */
  routeKeyOf(value: string): string | undefined;
}

/** Compiles an agent. The analysis has checked that `abilities` has every function that the agent names. */
export function compileAgent(
  config: AgentConfigT,
  abilities: ReadonlyMap<string, AbilityFn | AbilityDef>,
): CompiledAgent {
  const { functions = [], state_map: map, function_call: call } = config;
  const own = new Map<string, CompletionFunction<string, JsonObject>>();
  const runs = new Map<string, CompiledAbility>();
  const addAbility = (
    name: string,
    { timeout_ms: timeoutMs, approval }: Partial<FunctionConfig> = {},
  ): void => {
    const ability = abilities.get(name);
    if (!ability) return;
    runs.set(
      name,
      typeof ability === 'function'
        ? { run: ability, timeoutMs: timeoutMs ?? DEFAULT_TIMEOUT_MS, idempotent: true, approval }
        : {
            run: (args, context) => ability.execute(args, context),
            timeoutMs: timeoutMs ?? ability.timeoutMs ?? DEFAULT_TIMEOUT_MS,
            idempotent: ability.idempotent ?? true,
            approval: approval ?? ability.approval,
          },
    );
  };
  for (const fn of functions) {
    const ability = abilities.get(fn.name);
    const def = typeof ability === 'object' ? ability : undefined;
    const description = fn.description ?? def?.description;
    own.set(
      fn.name,
      functionFromJsonSchema({
        name: fn.name,
        ...(description ? { description } : {}),
        parameters:
          fn.parameters ??
          (def ? schemaOfZod(fn.name, def.parameters) : { type: 'object' as const, properties: {} }),
      }),
    );
    if (fn.name !== map?.function_name) addAbility(fn.name, fn);
  }
  const routes = map ? [...Object.values(map.values_map), ...(map.otherwise ? [map.otherwise] : [])] : [];
  for (const route of routes) {
    const name = route.function;
    if (name !== undefined && !runs.has(name)) {
      addAbility(
        name,
        functions.find((fn) => fn.name === map?.function_name),
      );
    }
  }
  const forced = typeof call === 'object' ? { type: 'function' as const, function: call } : call;
  return {
    name: config.name,
    config,
    functions: own,
    abilities: runs,
    choice: own.size > 0 ? (forced ?? 'auto') : undefined,
    mustRoute: hasToRoute(config),
    routeKeyOf(value) {
      if (!map || Object.hasOwn(map.values_map, value)) return map && value;
      const argument = own.get(map.function_name)?.schema.properties[map.argument_name];
      return argument?.enum ? undefined : nearestOf(value, Object.keys(map.values_map));
    },
  };
}

/** True if the model has to call the function of the state map. */
export function hasToRoute({ function_call: call, state_map: map, functions = [] }: AgentConfigT): boolean {
  if (!map) return false;
  if (typeof call === 'object') return call.name === map.function_name;
  return call === 'required' && functions.length === 1 && functions[0]?.name === map.function_name;
}
