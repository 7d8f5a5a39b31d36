// Reads the calls of one answer: which ones run a function of ours, which one decides where the message goes, and which ones
// cannot be followed and are answered with what is wrong. Pure; `team-run.ts` does what is planned here.

import type { ParsedToolCall } from '../model/stream/split-tool-stream.ts';
import { checkArguments } from '../tools/schema/completion-function.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import type { ToolFault } from '../tools/tool-outcome.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import type { RouteConfig } from './team-config.ts';

/** What to do about a call. */
export type CallPlan =
  | { kind: 'run'; call: ParsedToolCall; args: JsonObject }
  /** `value` is what the model chose; `null` if it did not choose, and `otherwise` is taken. */
  | { kind: 'route'; call: ParsedToolCall; route: RouteConfig; value: string | null; extras: JsonObject }
  | { kind: 'refuse'; call: ParsedToolCall; fault: ToolFault; isRouting: boolean };

/** The state map has no way for what the model chose. */
export interface NoRoute {
  kind: 'no_route';
  value: string | null;
}

/**
 * Plans the calls of an answer, in their order. At most one of them routes. While `mayRepair`, a routing call that does not
 * fit is refused so that the model can correct it; after that it goes where `otherwise` says.
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
      const message = 'another call of this answer decides already where the message goes';
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

/** Whether the arguments of a call fit the function it names. */
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
