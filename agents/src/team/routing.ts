// Plans the calls of one reply: which run a function, which one routes the message, and which are refused with a fault. Pure;
// `team-run.ts` executes the plans.
import type { ParsedToolCall } from '../model/stream/split-tool-stream.ts';
import { checkArguments } from '../tools/schema/completion-function.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { isScalar, withNearEnums } from '../tools/schema/near-enum.ts';
import type { ToolFault } from '../tools/tool-outcome.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import type { RouteConfig } from './team-config.ts';

/** Plan for one call. */
export type CallPlan =
  | { kind: 'run'; call: ParsedToolCall; args: JsonObject }
  /** `value` is the model's choice; `null` if it made none and `otherwise` applies. */
  | { kind: 'route'; call: ParsedToolCall; route: RouteConfig; value: string | null; extras: JsonObject }
  | { kind: 'refuse'; call: ParsedToolCall; fault: ToolFault; isRouting: boolean };

/** The state map has no route for the model's choice. */
export interface NoRoute {
  kind: 'no_route';
  value: string | null;
}

/**
 * Plans the calls of a reply, in their order. At most one of them routes. While `mayRepair`, a routing call that does not fit is
 * refused with the valid values, so that the model can correct it; after that the route `otherwise` applies. A value that fits the
 * schema but has no route takes `otherwise` at once.
 */
export function planCalls(
  agent: CompiledAgent,
  calls: readonly ParsedToolCall[],
  mayRepair: boolean,
): CallPlan[] | NoRoute {
  const map = agent.config.state_map;
  const plans: CallPlan[] = [];
  let hasRoute = false;
  for (const call of calls) {
    const isRouting = map !== undefined && call.name === map.function_name;
    if (!isRouting) {
      plans.push(planOf(agent, call));
      continue;
    }
    if (hasRoute) {
      const message = 'another call of this reply hands the message over already';
      plans.push({ kind: 'refuse', call, isRouting, fault: { code: 'only_one_handoff', message } });
      continue;
    }
    const checked = planOf(agent, call);
    const chosen = scalarOf(argsOf(agent, checked)[map.argument_name]);
    const key = chosen === undefined ? undefined : agent.routeKeyOf(chosen);
    // `otherwise` is the route of valid values that have no route of their own.
    const fits = checked.kind === 'run' && chosen !== undefined && map.otherwise !== undefined;
    if (checked.kind === 'run' && key !== undefined) {
      const { [map.argument_name]: _, ...extras } = checked.args;
      plans.push({ kind: 'route', call, route: map.values_map[key]!, value: key, extras });
    } else if (mayRepair && !fits) {
      plans.push({ kind: 'refuse', call, isRouting, fault: faultOfRoute(agent, checked, key !== undefined) });
      continue;
    } else if (map.otherwise) {
      plans.push({ kind: 'route', call, route: map.otherwise, value: chosen ?? null, extras: {} });
    } else {
      return { kind: 'no_route', value: chosen ?? null };
    }
    hasRoute = true;
  }
  return plans;
}

/** Fault of a routing call that does not fit. It lists the valid values if the value is wrong. */
function faultOfRoute(
  { config, functions }: CompiledAgent,
  checked: Extract<CallPlan, { kind: 'run' | 'refuse' }>,
  hasRoute: boolean,
): ToolFault {
  if (checked.kind === 'refuse' && (hasRoute || checked.fault.code !== 'invalid_args')) return checked.fault;
  const { function_name, argument_name, values_map } = config.state_map!;
  const { enum: values } = functions.get(function_name)?.schema.properties[argument_name] ?? {};
  const valid = Array.isArray(values) ? values : Object.keys(values_map);
  return { code: 'invalid_args', message: `${argument_name}: must be one of ${valid.join(', ')}` };
}

function argsOf(
  { functions }: CompiledAgent,
  plan: Extract<CallPlan, { kind: 'run' | 'refuse' }>,
): JsonObject {
  if (plan.kind === 'run') return plan.args;
  const { schema } = functions.get(plan.call.name) ?? {};
  return plan.call.ok && schema ? (withNearEnums(schema, plan.call.args) as JsonObject) : {};
}

const scalarOf = (value: unknown): string | undefined => (isScalar(value) ? String(value) : undefined);

/** Checks a call against the function that it names. */
function planOf(agent: CompiledAgent, call: ParsedToolCall): Extract<CallPlan, { kind: 'run' | 'refuse' }> {
  const refuse = (code: ToolFault['code'], message: string): CallPlan & { kind: 'refuse' } => ({
    kind: 'refuse',
    call,
    isRouting: false,
    fault: { code, message },
  });
  const fn = agent.functions.get(call.name);
  if (!fn) {
    const known = [...agent.functions.keys()].join(', ') || 'none';
    return refuse('unknown_tool', `there is no function "${call.name}"; there are: ${known}`);
  }
  if (!call.ok) return refuse('invalid_json', call.error.message);
  const checked = checkArguments<JsonObject>(fn.parameters, fn.schema, call.args);
  if (!checked.ok) return refuse('invalid_args', checked.error.message);
  return { kind: 'run', call, args: checked.value };
}
