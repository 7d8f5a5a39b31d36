// Runs the turns of a conversation as turns of a team. What the conversation's host is told are the model calls and function
// calls of all agents, so its journal can take up a turn that a crash cut short: what was answered or done is not asked or
// done again.
import { FabricError } from '@fame-fabric/shared';
import { z } from 'zod';
import { HAND_OVER, HAND_OVER_META, type RemoteCall, readMeta } from '../handoff/hand-over.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import type { Spent } from '../model/usage.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import {
  type TurnEvent,
  type TurnInput,
  type TurnResult,
  type TurnRunner,
  toolStarted,
} from '../turn/turn.ts';
import type { Team } from './team.ts';
import type { TeamEvent } from './team-events.ts';

export interface TeamTurnsOptions {
  /** Where the team is reached. @default that of the team file */
  address?: string;
  remote?: RemoteCall;
  /** What is said to a person who opens a conversation without a word. @default 'Hello! What can I do for you?' */
  greeting?: string;
}

const message = z.union([
  z.looseObject({ role: z.literal('user'), content: z.string() }),
  z.looseObject({ role: z.literal('assistant'), content: z.string().nullable() }),
  z.looseObject({ role: z.literal('tool'), content: z.string(), tool_call_id: z.string() }),
]);
const handedOver = z.object({
  history: z.array(message).default([]),
  extras: z.record(z.string(), z.json()).default({}),
});

export class TeamTurns implements TurnRunner {
  readonly #team: Team;
  readonly #options: TeamTurnsOptions;

  constructor(team: Team, options: TeamTurnsOptions = {}) {
    this.#team = team;
    this.#options = options;
  }

  get modelName(): string {
    return this.#team.defaultModel.name;
  }

  /** @throws what `Team.events` throws; {PARAMS_INVALID} when what another node handed over cannot be read */
  async *run(input: TurnInput): AsyncGenerator<TurnEvent, TurnResult, void> {
    const { draft, payload, conversationId, turnId, recorded, signal } = input;
    if (input.userMessage.trim() === '') return yield* this.#greet();
    const { history, extras } = readHandOver(payload);
    const meta = readMeta(payload[HAND_OVER_META]);
    const { remote, address } = this.#options;
    const events = this.#team.events([...history, ...draft.request()], {
      conversationId,
      turnId,
      signal,
      extras,
      ...(recorded ? { recorded } : {}),
      ...(meta ? { meta } : {}),
      ...(remote ? { remote } : {}),
      ...(address ? { address } : {}),
    });
    try {
      for (;;) {
        const step = await events.next();
        if (step.done) {
          const { value: result } = step;
          return {
            text: result.kind === 'text' ? result.text : '',
            usage: usageOf(result.usage.total),
            model: result.model || this.modelName,
            messages: result.turn,
          };
        }
        const event = this.#note(step.value, input);
        if (event) yield event;
      }
    } finally {
      await events.return(undefined as never);
    }
  }

  async *#greet(): AsyncGenerator<TurnEvent, TurnResult, void> {
    const text = this.#options.greeting ?? 'Hello! What can I do for you?';
    yield { type: 'text', text };
    const usage: Usage = { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 };
    const messages: ModelMessage[] = [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: text },
    ];
    return { text, usage, model: this.modelName, messages };
  }

  /** Writes an event into the draft, which is what stays of a turn that fails; gives what the host is told. */
  #note(event: TeamEvent, { draft }: TurnInput): TurnEvent | undefined {
    switch (event.type) {
      case 'text':
        return { type: 'text', text: event.text };
      case 'model_called': {
        const { step, model, messages } = event;
        return { type: 'model_called', step, model, messages };
      }
      case 'model_replied': {
        const { step, model, message: answer, finish, usage, isRecorded } = event;
        draft.assistant(answer);
        return isRecorded
          ? undefined
          : { type: 'model_replied', step, model, message: answer, finish, usage };
      }
      case 'tool_call':
        return event.isRecorded ? undefined : toolStarted(event.call);
      case 'tool_result': {
        const { id: callId, name, ok, content, isRecorded } = event;
        draft.tool(callId, content);
        return isRecorded ? undefined : { type: 'tool_finished', callId, name, ok, content };
      }
      default:
        return undefined;
    }
  }
}

function readHandOver(payload: Readonly<Record<string, unknown>>): {
  history: readonly ModelMessage[];
  extras: JsonObject;
} {
  if (payload[HAND_OVER] === undefined) return { history: [], extras: {} };
  const read = handedOver.safeParse(payload[HAND_OVER]);
  if (read.success) return read.data as { history: ModelMessage[]; extras: JsonObject };
  const issue = read.error.issues[0]!;
  throw new FabricError('PARAMS_INVALID', `${[HAND_OVER, ...issue.path].join('.')}: ${issue.message}`);
}

const usageOf = ({ prompt_tokens, completion_tokens, total_tokens, cached_tokens }: Spent): Usage => ({
  prompt_tokens,
  completion_tokens,
  total_tokens,
  ...(cached_tokens > 0 ? { cached_tokens } : {}),
});
