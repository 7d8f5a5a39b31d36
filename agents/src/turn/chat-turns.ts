// The path of a chat turn: ask the model, stream its text and run its tools concurrently, and ask again while the reply had calls.
// `journaled-model.ts` and `journaled-tools.ts` record the turn below this loop.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import type { ChatModel, ModelRequest, ToolCall } from '../model/model.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import { toolMessage } from '../tools/tool-outcome.ts';
import { ToolSet } from '../tools/tool-set.ts';
import type { OptionBounds } from './option-bounds.ts';
import type { TextSource, TurnContext, TurnResult, TurnRunner } from './turn.ts';
import type { TurnOptions } from './turn-options.ts';

export interface ChatTurnsOptions {
  model: ChatModel;
  tools?: ToolSet | undefined;
  /** Names of models that callers may choose beside `model`, on the same server. @default none */
  models?: readonly string[] | undefined;
  /** Maximum model calls of one turn. @default 16 */
  maxSteps?: number | undefined;
  /** Maximum tokens of one reply. @default 4_096 */
  maxAnswerTokens?: number | undefined;
  log?: Logger | undefined;
}

/** Maximum bytes, as JSON, of the text of a turn and the calls that it hands out: one envelope carries both. */
const MAX_HANDED_OUT_BYTES = 229_376;

/** The turns of a chat agent: one model, and the tools that it may call. */
export class ChatTurns implements TurnRunner {
  readonly #model: ChatModel;
  readonly #tools: ToolSet;
  readonly #maxAnswerTokens: number;
  readonly accepts: OptionBounds;
  readonly #maxSteps: number;
  readonly #log: Logger;

  constructor(options: ChatTurnsOptions) {
    const {
      model,
      models = [],
      tools = new ToolSet(),
      maxSteps = 16,
      maxAnswerTokens = 4_096,
      log = silentLog,
    } = options;
    this.#model = model;
    this.#tools = tools;
    this.#maxAnswerTokens = maxAnswerTokens;
    this.accepts = Object.freeze({
      takes: [
        'tools',
        'tool_choice',
        'response_format',
        'temperature',
        'max_tokens',
        'stop',
        'model',
        'instructions',
        'truncation',
        'metadata',
      ],
      models: [...new Set([model.name, ...models])],
      ownTools: tools.names,
    } satisfies OptionBounds);
    this.#maxSteps = maxSteps;
    this.#log = log;
  }

  get modelName(): string {
    return this.#model.name;
  }

  /**
   * @throws {TURN_STEP_LIMIT} when the model still calls tools in its last allowed reply
   * @throws {BUFFER_OVERFLOW} when the text of the turn grows too long, or the calls for its caller; and errors of the model
   */
  async run(turn: TurnContext): Promise<TurnResult> {
    const messages = [...turn.messages];
    const usage = noUsage();
    const model = turn.options.model ?? this.#model.name;
    const request = this.#requestOf(turn.options);
    for (let step = 1; step <= this.#maxSteps; step++) {
      const { reply, outcomes, handedOut } = await this.#step(turn, { ...request, messages }, step);
      if (reply.usage) addUsage(usage, reply.usage);
      if (handedOut.length > 0) {
        mustFitEnvelope(turn.text, handedOut);
        return { usage, model, finish: 'tool_calls', toolCalls: handedOut, taskState: 'input-required' };
      }
      if (outcomes.length === 0) return { usage, model };
      messages.push(reply.message, ...outcomes.map(toolMessage));
      turn.signal.throwIfAborted();
      // A demanded call was made. To demand another one would never end.
      if (request.tool_choice !== 'none') delete request.tool_choice;
    }
    throw new FabricError(
      'TURN_STEP_LIMIT',
      `The turn reached its limit of ${this.#maxSteps} model calls, and the last reply still called tools. Raise maxSteps.`,
    );
  }

  #requestOf(options: TurnOptions): Omit<ModelRequest, 'messages'> {
    const {
      tools: foreign = [],
      tool_choice,
      response_format,
      temperature,
      max_tokens,
      stop,
      model,
    } = options;
    const tools = [...this.#tools.specs(), ...foreign];
    return {
      max_tokens: Math.min(max_tokens ?? this.#maxAnswerTokens, this.#maxAnswerTokens),
      ...(tools.length > 0 ? { tools } : {}),
      ...(tools.length > 0 && tool_choice ? { tool_choice } : {}),
      ...(response_format ? { response_format } : {}),
      ...(temperature === undefined ? {} : { temperature }),
      ...(stop === undefined ? {} : { stop }),
      ...(model === undefined ? {} : { model }),
    };
  }

  /**
   * Asks once and runs the calls of the reply. A failure on one side stops the other. Calls of the caller's tools do not run; one
   * with invalid arguments is answered with its fault, so the caller only gets calls that it can make.
   */
  async #step(turn: TurnContext, request: ModelRequest, step: number) {
    const { conversationId, signal, makeCall, link } = turn;
    const foreign = new Set(turn.options.tools?.map((tool) => tool.function.name));
    const run = this.#tools.start({ signal, conversationId, makeCall, link, foreignNames: foreign });
    const handedOut = new Set<string>();
    const source: TextSource = { from: 'model', speaker: `reply ${step}` };
    try {
      const reply = await turn.ask(this.#model, request, {
        signal: run.signal,
        toUserKey: this.#tools.toUserKey,
        toUserTools: this.#tools.toUserTools,
        onText: (text) => turn.emitText(text, source),
        onCall: (call) => {
          if (call.ok && foreign.has(call.name)) handedOut.add(call.id);
          else run.add(call);
        },
        onWarning: ({ message }) =>
          this.#log.warn('the model server violated the protocol', { model: this.#model.name, message }),
      });
      const outcomes = await run.finish();
      const calls = reply.message.tool_calls ?? [];
      return { reply, outcomes, handedOut: calls.filter(({ id }) => handedOut.has(id)) };
    } catch (error) {
      throw await run.fail(error);
    }
  }
}

function mustFitEnvelope(text: string, calls: readonly ToolCall[]): void {
  if (Buffer.byteLength(JSON.stringify([text, calls])) <= MAX_HANDED_OUT_BYTES) return;
  throw new FabricError(
    'BUFFER_OVERFLOW',
    `The text of the turn and the calls for its caller are larger than ${MAX_HANDED_OUT_BYTES} bytes. Ask for smaller arguments.`,
  );
}
