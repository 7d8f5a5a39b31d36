// Runs the functions that one answer calls, side by side but not too many at once, and passes on what they show to the user
// while they work.
import type { Clock, Logger } from '@fame-fabric/shared';
import { z } from 'zod';
import type { RecordedStep } from '../conversation-journal.ts';
import type { JsonObject } from '../strategy/json-schema.ts';
import { Channel } from '../stream/channel.ts';
import type { ParsedToolCall } from '../stream/split-tool-stream.ts';
import { type AbilityOutcome, runAbility } from './ability.ts';
import type { CompiledAgent } from './compiled-agent.ts';

const MAX_PARALLEL = 8;
const MAX_WAITING_CHARS = 1_048_576;

export interface AbilityCall {
  readonly call: ParsedToolCall;
  readonly name: string;
  readonly args: JsonObject;
}

export interface RunningAbilities {
  /** What they show while they work; ends when all have ended. */
  readonly texts: AsyncIterable<{ callId: string; text: string }>;
  /** By call id. Never rejects. */
  readonly outcomes: Promise<Map<string, AbilityOutcome>>;
}

export function runAbilities(
  agent: CompiledAgent,
  calls: readonly AbilityCall[],
  deps: { clock: Clock; log: Logger; signal: AbortSignal; conversationId: string | undefined },
): RunningAbilities {
  const { clock, log, signal, conversationId } = deps;
  const texts = new Channel<{ callId: string; text: string }>({
    limit: MAX_WAITING_CHARS,
    name: 'the text of the abilities',
  });
  const outcomes = new Map<string, AbilityOutcome>();
  const waiting = [...calls];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const { call, name, args } = next;
      const ability = agent.abilities.get(name);
      if (!ability) continue;
      const context = {
        callId: call.id,
        agent: agent.name,
        conversationId,
        log: log.with({ agent: agent.name, ability: name }),
        emit: (text: string) => texts.push({ callId: call.id, text }, text.length),
      };
      const { timeoutMs } = ability;
      outcomes.set(call.id, await runAbility(ability.run, args, context, { timeoutMs, clock, signal }));
    }
  };
  const all = Promise.all(Array.from({ length: Math.min(MAX_PARALLEL, calls.length) }, work)).then(() => {
    texts.end();
    return outcomes;
  });
  return { texts, outcomes: all };
}

/** What calls came to before the turn was cut short: those that finished, and those that must not be tried twice. */
export function recordedOutcomes(agent: CompiledAgent, recorded: RecordedStep): Map<string, AbilityOutcome> {
  const outcomes = new Map<string, AbilityOutcome>();
  for (const { id, function: called } of recorded.message.tool_calls ?? []) {
    const finished = recorded.finished.get(id);
    if (finished) outcomes.set(id, outcomeOf(finished.content));
    else if (recorded.started.has(id) && agent.abilities.get(called.name)?.idempotent === false) {
      const message = 'it was interrupted, and whether it had an effect is not known';
      outcomes.set(id, { kind: 'error', code: 'aborted', message });
    }
  }
  return outcomes;
}

const shape = z.union([
  z
    .strictObject({ shown_to_user: z.string() })
    .transform(({ shown_to_user: text }) => ({ kind: 'text' as const, text })),
  z.strictObject({ done: z.literal(true) }).transform(() => ({ kind: 'silent' as const })),
  z
    .strictObject({ handed_over_to: z.string() })
    .transform(({ handed_over_to: agent }) => ({ kind: 'handoff' as const, agent })),
  z
    .strictObject({
      error: z.strictObject({
        code: z.enum(['timeout', 'failed', 'not_json', 'aborted']),
        message: z.string(),
      }),
    })
    .transform(({ error }) => ({ kind: 'error' as const, ...error })),
]);

/** Reads back what an outcome was written as for the agent; `team-run.ts` writes it. */
function outcomeOf(content: string): AbilityOutcome {
  const read = shape.safeParse(JSON.parse(content));
  return read.success ? read.data : { kind: 'data', json: content };
}
