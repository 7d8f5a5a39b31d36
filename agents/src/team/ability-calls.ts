// Runs the functions that one answer calls, side by side but not too many at once. What they show and what they come to is told
// as it happens, so that a crash loses nothing that was finished.
import type { Clock, Logger } from '@fame-fabric/shared';
import type { RecordedStep } from '../conversation/journal.ts';
import { Channel } from '../model/stream/channel.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { type AbilityOutcome, runAbility } from './ability.ts';
import { outcomeOfContent } from './answers.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import type { CallPlan } from './routing.ts';

const MAX_PARALLEL = 8;
const MAX_WAITING_CHARS = 1_048_576;

/** A call that runs a function: the one it names, or the one that the state map names. */
export interface AbilityCall {
  readonly plan: CallPlan;
  readonly name: string;
  readonly args: JsonObject;
}
export type AbilityEvent =
  | { type: 'text'; plan: CallPlan; text: string }
  | { type: 'outcome'; plan: CallPlan; outcome: AbilityOutcome };

export interface AbilityDeps {
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  conversationId: string | undefined;
}

/** Ends when all have ended; never throws. */
export function runAbilities(
  agent: CompiledAgent,
  calls: readonly AbilityCall[],
  { clock, log, signal, conversationId }: AbilityDeps,
): AsyncIterable<AbilityEvent> {
  const events = new Channel<AbilityEvent>({ limit: MAX_WAITING_CHARS, name: 'what the abilities tell' });
  const waiting = [...calls];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { plan, name, args } = next;
      const context = {
        callId: plan.call.id,
        agent: agent.name,
        conversationId,
        log: log.with({ agent: agent.name, ability: name }),
        emit: (text: string) => events.push({ type: 'text', plan, text }, text.length),
      };
      const ability = agent.abilities.get(name);
      const outcome: AbilityOutcome = ability
        ? await runAbility(ability.run, args, context, { timeoutMs: ability.timeoutMs, clock, signal })
        : { kind: 'error', code: 'failed', message: 'the function does not exist' };
      events.push({ type: 'outcome', plan, outcome }, 0);
    }
  };
  const workers = Array.from({ length: Math.min(MAX_PARALLEL, calls.length) }, work);
  void Promise.all(workers).then(() => events.end());
  return events;
}

/** What calls came to before the turn was cut short: those that finished, and those that must not be tried twice. */
export function recordedOutcomes(
  agent: CompiledAgent,
  calls: readonly AbilityCall[],
  recorded: RecordedStep | undefined,
): Map<CallPlan, AbilityOutcome> {
  const outcomes = new Map<CallPlan, AbilityOutcome>();
  for (const { plan, name } of calls) {
    const { id } = plan.call;
    const finished = recorded?.finished.get(id);
    if (finished) outcomes.set(plan, outcomeOfContent(finished.content));
    else if (recorded?.started.has(id) && agent.abilities.get(name)?.idempotent === false) {
      const message = 'it was interrupted, and whether it had an effect is not known';
      outcomes.set(plan, { kind: 'error', code: 'aborted', message });
    }
  }
  return outcomes;
}
