// Runs the turns of a conversation as turns of a team.
import { FabricError } from '@fame-fabric/shared';
import { z } from 'zod';
import { HANDOFF, HANDOFF_META, type RemoteCall, readMeta } from '../handoff/handoff.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import { noUsage, type Spent } from '../model/usage.ts';
import type { JsonObject } from '../tools/schema/json-schema.ts';
import { askWithOptions, REQUEST_OPTIONS } from '../turn/ask-with-options.ts';
import type { TurnContext, TurnResult, TurnRunner } from '../turn/turn.ts';
import type { Team } from './team.ts';

export interface TeamTurnsOptions {
  /** Address of the team. @default that of the team file */
  address?: string | undefined;
  remote?: RemoteCall | undefined;
  /** Reply to an empty first message. @default 'Hello! What can I do for you?' */
  greeting?: string | undefined;
}

const message = z.union([
  z.looseObject({ role: z.literal('user'), content: z.string() }),
  z.looseObject({ role: z.literal('assistant'), content: z.string().nullable() }),
  z.looseObject({ role: z.literal('tool'), content: z.string(), tool_call_id: z.string() }),
]);
const handoffSchema = z.object({
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

  readonly accepts = REQUEST_OPTIONS;

  get modelName(): string {
    return this.#team.defaultModel.name;
  }

  /** Runs one turn. @throws what `Team.run` throws; {PARAMS_INVALID} when what another node handed over cannot be read */
  async run(turn: TurnContext): Promise<TurnResult> {
    if (turn.userMessage.trim() === '') return this.#greet(turn);
    const { payload, conversationId, turnId, signal } = turn;
    const { history, extras } = readHandoff(payload);
    const { remote, address } = this.#options;
    const result = await this.#team.run([...history, ...turn.messages], {
      conversationId,
      turnId,
      now: turn.acceptedAt,
      signal,
      extras,
      meta: readMeta(payload[HANDOFF_META]),
      remote,
      address,
      actions: {
        ask: askWithOptions(turn.ask, turn.options),
        makeCall: turn.makeCall,
        link: turn.link,
        emitText: (text, source) => turn.emitText(text, source),
        assertLive: () => turn.assertLive(),
        get text() {
          return turn.text;
        },
      },
    }).result;
    return {
      usage: usageOf(result.usage.total),
      model: result.model || this.modelName,
      messages: result.turn,
      ...(result.kind === 'ignored' ? { ignored: result.reason } : {}),
    };
  }

  async #greet(turn: TurnContext): Promise<TurnResult> {
    const text = this.#options.greeting ?? 'Hello! What can I do for you?';
    await turn.emitText(text, { from: 'runner' });
    const messages: ModelMessage[] = [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: text },
    ];
    return { usage: noUsage(), model: this.modelName, messages };
  }
}

function readHandoff(payload: Readonly<Record<string, unknown>>): {
  history: readonly ModelMessage[];
  extras: JsonObject;
} {
  if (payload[HANDOFF] === undefined) return { history: [], extras: {} };
  const read = handoffSchema.safeParse(payload[HANDOFF]);
  if (read.success) return read.data as { history: ModelMessage[]; extras: JsonObject };
  const issue = read.error.issues[0]!;
  throw new FabricError('PARAMS_INVALID', `${[HANDOFF, ...issue.path].join('.')}: ${issue.message}`);
}

const usageOf = ({ prompt_tokens, completion_tokens, total_tokens, cached_tokens }: Spent): Usage => ({
  prompt_tokens,
  completion_tokens,
  total_tokens,
  ...(cached_tokens > 0 ? { cached_tokens } : {}),
});
