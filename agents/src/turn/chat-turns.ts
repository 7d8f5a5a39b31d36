// The path of a chat turn: ask the model, stream its text and run its tools concurrently, and ask again while the reply had calls.
// `journaled-model.ts` and `journaled-tools.ts` record the turn below this loop.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import type { ChatModel, ModelMessage, ModelRequest } from '../model/model.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import { toolMessage } from '../tools/tool-outcome.ts';
import { ToolSet } from '../tools/tool-set.ts';
import type { TextSource, TurnContext, TurnResult, TurnRunner } from './turn.ts';

export interface ChatTurnsOptions {
  model: ChatModel;
  tools?: ToolSet | undefined;
  /** Maximum model calls of one turn. @default 16 */
  maxSteps?: number | undefined;
  /** Maximum tokens of one reply. @default 4_096 */
  maxAnswerTokens?: number | undefined;
  log?: Logger | undefined;
}

/** The turns of a chat agent: one model, and the tools that it may call. */
export class ChatTurns implements TurnRunner {
  readonly #model: ChatModel;
  readonly #tools: ToolSet;
  readonly #request: Omit<ModelRequest, 'messages'>;
  readonly #maxSteps: number;
  readonly #log: Logger;

  constructor(options: ChatTurnsOptions) {
    const { model, tools = new ToolSet(), maxSteps = 16, maxAnswerTokens = 4_096, log = silentLog } = options;
    this.#model = model;
    this.#tools = tools;
    this.#request = { max_tokens: maxAnswerTokens, ...(tools.size > 0 ? { tools: tools.specs() } : {}) };
    this.#maxSteps = maxSteps;
    this.#log = log;
  }

  get modelName(): string {
    return this.#model.name;
  }

  /**
   * @throws {TURN_STEP_LIMIT} when the model still calls tools in its last allowed reply
   * @throws {BUFFER_OVERFLOW} when the text of the turn grows too long; and what the model throws
   */
  async run(turn: TurnContext): Promise<TurnResult> {
    const messages = [...turn.messages];
    const usage = noUsage();
    for (let step = 1; step <= this.#maxSteps; step++) {
      const { reply, outcomes } = await this.#step(turn, messages, step);
      if (reply.usage) addUsage(usage, reply.usage);
      if (outcomes.length === 0) return { usage, model: this.#model.name };
      messages.push(reply.message, ...outcomes.map(toolMessage));
      turn.signal.throwIfAborted();
    }
    throw new FabricError(
      'TURN_STEP_LIMIT',
      `The turn reached its limit of ${this.#maxSteps} model calls, and the last reply still called tools. Raise maxSteps.`,
    );
  }

  /** Asks once and runs the calls of the reply. A failure on one side stops the other. */
  async #step(turn: TurnContext, messages: readonly ModelMessage[], step: number) {
    const { conversationId, signal, makeCall } = turn;
    const run = this.#tools.start({ signal, conversationId, makeCall });
    const source: TextSource = { from: 'model', speaker: `reply ${step}` };
    try {
      const reply = await turn.ask(
        this.#model,
        { ...this.#request, messages },
        {
          signal: run.signal,
          toUserKey: 'to_user',
          onText: (text) => turn.emitText(text, source),
          onCall: (call) => run.add(call),
          onWarning: ({ message }) =>
            this.#log.warn('the model server violated the protocol', { model: this.#model.name, message }),
        },
      );
      return { reply, outcomes: await run.finish() };
    } catch (error) {
      throw await run.fail(error);
    }
  }
}
