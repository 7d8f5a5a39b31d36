// Plans the calls of one reply: which run a function, which one routes the message, and which are refused with a fault. Pure;
// `team-run.ts` executes the plans.
import type { ParsedToolCall } from '../model/stream/split-tool-stream.ts';
import { checkArguments } from '../tools/schema/completion-function.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
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
 * refused, so that the model can correct it; after that the route `otherwise` applies.
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
    const chosen = call.ok ? scalarOf(call.args[map.argument_name]) : undefined;
    const mapped = chosen === undefined ? undefined : agent.routeOf(chosen);
    if (checked.kind === 'run' && mapped && chosen !== undefined) {
      const { [map.argument_name]: _, ...extras } = checked.args;
      plans.push({ kind: 'route', call, route: mapped, value: chosen, extras });
    } else if (checked.kind === 'refuse' && mayRepair && (chosen === undefined || mapped)) {
      plans.push({ ...checked, isRouting });
      continue;
    } else if (checked.kind === 'run' && chosen === undefined && mayRepair) {
      const message = `${map.argument_name}: must be one of ${Object.keys(map.values_map).join(', ')}`;
      plans.push({ kind: 'refuse', call, isRouting, fault: { code: 'invalid_args', message } });
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

const scalarOf = (value: unknown): string | undefined =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined;

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
