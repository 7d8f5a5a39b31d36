// Turns the calls of one model reply into tool results and a routing decision. It both writes an outcome for the agent and reads it
// back from the journal.
import { isErrorCode, type Logger } from '@fame-fabric/shared';
import { isAgentCode } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { faultContent, faultOfContent } from '../tools/tool-outcome.ts';
import type { AbilityOutcome } from './ability.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import type { CallPlan } from './routing.ts';
import type { RouteConfig } from './team-config.ts';
import { isRemote } from './team-graph.ts';

/** Routing decision of an agent. */
export type Next =
  | { kind: 'agent'; target: string; value: string; extras: JsonObject }
  | { kind: 'ignored'; reason: string; extras: JsonObject }
  | { kind: 'text' }
  | { kind: 'silent' };

/** A call and its effect. */
export interface Answer {
  readonly plan: CallPlan;
  readonly effect:
    | { kind: 'text'; text: string }
    | { kind: 'silent' | 'data' | 'error' }
    | Extract<Next, { kind: 'agent' | 'ignored' }>;
  /** Tool result for the agent. */
  readonly content: string;
}

export interface AnswerDeps {
  /** True if the team has an agent of that name. */
  knows(agent: string): boolean;
  /** Builds the error of a turn that fails because a function failed. */
  failure(message: string, cause: unknown): Error;
  log: Logger;
}

/** Answers a call that runs no function; `undefined` for one that does. */
export function answerWithoutRun(plan: CallPlan): Answer | undefined {
  if (plan.kind === 'refuse') {
    return { plan, effect: { kind: 'error' }, content: faultContent(plan.fault) };
  }
  if (plan.kind === 'run' || plan.route.function !== undefined) return undefined;
  const { route, value, extras } = plan;
  if (route.agent === undefined) {
    const reason = route.ignore ?? '';
    return {
      plan,
      effect: { kind: 'ignored', reason, extras },
      content: JSON.stringify({ ignored: reason }),
    };
  }
  const effect = {
    kind: 'agent' as const,
    target: route.agent,
    value: value ?? 'otherwise',
    extras: handed(route, extras),
  };
  return { plan, effect, content: JSON.stringify({ handed_over_to: route.agent }) };
}

const routingResult = z.union([
  z.strictObject({ handed_over_to: z.string() }),
  z.strictObject({ ignored: z.string() }),
]);

/** True for the result of a call that handed the message over or ignored it. */
export function isRoutingResult(content: string): boolean {
  try {
    return routingResult.safeParse(JSON.parse(content)).success;
  } catch {
    return false;
  }
}

const handed = (route: RouteConfig, extras: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(extras).filter(([name]) => route.with?.includes(name)));

/** Answers a call whose function has run. @throws what `deps.failure` builds, if the agent is configured so */
export function answerAfterRun(
  agent: CompiledAgent,
  plan: CallPlan,
  outcome: AbilityOutcome,
  deps: AnswerDeps,
): Answer {
  switch (outcome.kind) {
    case 'text':
      return { plan, effect: outcome, content: JSON.stringify({ shown_to_user: outcome.text }) };
    case 'silent':
      return { plan, effect: outcome, content: JSON.stringify({ done: true }) };
    case 'data':
      return { plan, effect: { kind: 'data' }, content: outcome.json };
    case 'handoff': {
      const target = outcome.agent;
      if (!isRemote(target) && !deps.knows(target)) {
        const content = faultContent({
          code: 'failed',
          message: 'the function named an agent that does not exist',
        });
        return { plan, effect: { kind: 'error' }, content };
      }
      const effect = { kind: 'agent' as const, target, value: plan.call.name, extras: {} };
      return { plan, effect, content: JSON.stringify({ handed_over_to: target }) };
    }
    case 'error':
      return answerToError(agent, plan, outcome, deps);
  }
}

function answerToError(
  agent: CompiledAgent,
  plan: CallPlan,
  { code, message, cause }: AbilityOutcome & { kind: 'error' },
  deps: AnswerDeps,
): Answer {
  const { name } = plan.call;
  deps.log.warn('ability failed', { agent: agent.name, ability: name, reason: code, error: cause });
  const rule = agent.config.on_ability_error ?? 'model';
  if (rule === 'throw') throw deps.failure(`"${name}" of "${agent.name}": ${message}`, cause);
  const content = faultContent({ code, message });
  if (rule === 'model') return { plan, effect: { kind: 'error' }, content };
  return { plan, effect: { kind: 'text', text: `This did not work: ${message}.` }, content };
}

const isCode = (code: unknown): boolean => isErrorCode(code) || isAgentCode(code);
const written = z.union([
  z
    .strictObject({ shown_to_user: z.string() })
    .transform((read) => ({ kind: 'text' as const, text: read.shown_to_user })),
  z.strictObject({ done: z.literal(true) }).transform(() => ({ kind: 'silent' as const })),
  z
    .strictObject({ handed_over_to: z.string() })
    .transform((read) => ({ kind: 'handoff' as const, agent: read.handed_over_to })),
  z
    .strictObject({
      error: z.strictObject({
        code: z.union([z.enum(['timeout', 'failed', 'not_json', 'aborted']), z.custom<string>(isCode)]),
        message: z.string(),
      }),
    })
    .transform(({ error }) => ({ kind: 'error' as const, ...error })),
]);

/** Answers a call whose function did not run here: its result is recorded, or the call was refused. */
export function answerOfRecord(
  agent: CompiledAgent,
  plan: CallPlan,
  content: string,
  deps: AnswerDeps,
): Answer {
  const code = faultOfContent(content)?.code;
  if (code === 'refused' || code === 'too_large') return { plan, effect: { kind: 'error' }, content };
  return { ...answerAfterRun(agent, plan, outcomeOfContent(content), deps), content };
}

/** Reads back the outcome that `answerAfterRun` wrote as `content`. */
function outcomeOfContent(content: string): AbilityOutcome {
  const read = written.safeParse(JSON.parse(content));
  return read.success ? read.data : { kind: 'data', json: content };
}

/** Keeps the first of several handoffs and turns the others into errors. */
export function withOneHandoff(answers: readonly Answer[]): Answer[] {
  const first = answers.find(({ effect }) => effect.kind === 'agent');
  const message = 'another call of this reply hands the message over already';
  return answers.map((answer) =>
    answer.effect.kind !== 'agent' || answer === first
      ? answer
      : {
          ...answer,
          effect: { kind: 'error' },
          content: faultContent({ code: 'only_one_handoff', message }),
        },
  );
}

/** Decides what follows all answers: a handoff, data for the agent, a text, an ignore, or silence. */
export function decide(answers: readonly Answer[]): Next | 'again' {
  const effects = answers.map((answer) => answer.effect);
  const handoff = effects.find((effect) => effect.kind === 'agent');
  if (handoff) return handoff;
  if (effects.some((effect) => effect.kind === 'data' || effect.kind === 'error')) return 'again';
  if (effects.some((effect) => effect.kind === 'text')) return { kind: 'text' };
  return effects.find((effect) => effect.kind === 'ignored') ?? { kind: 'silent' };
}
