// Runs the functions that one reply calls, concurrently up to a limit. Each call goes through `makeCall`, which may return a
// recorded result.
import type { Clock, Logger } from '@fame-fabric/shared';
import type { Outbound } from '../agent/operation.ts';
import { needsApproval } from '../tools/approval-rule.ts';
import type { MakeCall } from '../tools/make-call.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { runAbility } from './ability.ts';
import { type Answer, type AnswerDeps, answerAfterRun, answerOfRecord } from './answers.ts';
import type { CompiledAgent } from './compiled-agent.ts';
import type { CallPlan } from './routing.ts';

const MAX_PARALLEL = 8;

/** A call that runs a function: the one it names, or the one that the state map names. */
export interface AbilityCall {
  readonly plan: CallPlan;
  readonly name: string;
  readonly args: JsonObject;
}

export interface AbilityDeps {
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  conversationId: string | undefined;
  makeCall: MakeCall;
  link: Outbound;
  answers: AnswerDeps;
  onStart(plan: CallPlan): void;
  onAnswer(answer: Answer): void;
}

/** Runs the calls and resolves when all have ended. @throws what `makeCall` throws, and the failure of a function under `throw` */
export async function runAbilities(
  agent: CompiledAgent,
  calls: readonly AbilityCall[],
  deps: AbilityDeps,
): Promise<void> {
  const waiting = [...calls];
  const failures: unknown[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next && failures.length === 0; next = waiting.shift()) {
      try {
        await runOne(agent, next, deps);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(MAX_PARALLEL, calls.length) }, work));
  if (failures.length > 0) throw failures[0];
}

async function runOne(agent: CompiledAgent, { plan, name, args }: AbilityCall, deps: AbilityDeps) {
  const { clock, signal, conversationId, makeCall, link, onStart, onAnswer } = deps;
  const { call } = plan;
  const ability = agent.abilities.get(name);
  let answer: Answer | undefined;
  onStart(plan);
  const { content } = await makeCall({
    call,
    willRun: true,
    isIdempotent: ability?.idempotent,
    needsApproval: () =>
      needsApproval(ability?.approval, args, (error) =>
        deps.log.warn('an approval rule failed; a person is asked', { ability: name, error }),
      ),
    runs: name,
    speaker: `${call.id} says`,
    async execute(emit) {
      const log = deps.log.with({ agent: agent.name, ability: name });
      const context = { callId: call.id, agent: agent.name, conversationId, link, log, emit };
      const outcome = ability
        ? await runAbility(ability.run, args, context, { timeoutMs: ability.timeoutMs, clock, signal })
        : ({ kind: 'error', code: 'failed', message: 'the function does not exist' } as const);
      // An ability that was aborted with its turn has no result.
      signal.throwIfAborted();
      answer = answerAfterRun(agent, plan, outcome, deps.answers);
      return { ok: answer.effect.kind !== 'error', content: answer.content };
    },
  });
  onAnswer(answer ?? answerOfRecord(agent, plan, content, deps.answers));
}
