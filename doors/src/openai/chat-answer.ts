// The two forms of an answer: the whole completion, and the chunks of a stream.
import type { DoneEvent, TurnEvent } from '@fame-fabric/client';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { FastifyReply } from '../fastify.ts';
import { idHeader } from '../shared/id-header.ts';
import { type EventStream, sse } from '../shared/sse.ts';
import { statusOf } from '../shared/status.ts';
import type { ChatRequest } from './chat-request.ts';
import { type AnswerIds, ChunkWriter, completion } from './chat-response.ts';
import type { ChatTurn } from './chat-turn.ts';
import { errorBody } from './openai-error.ts';

/** An answer on its way to the client. */
export interface Answer {
  onEvent(event: TurnEvent): void | Promise<void>;
  /** Writes an error, or throws it if the response has not begun. */
  fail(error: unknown): void | Promise<void>;
  /** True if the client has the whole answer. */
  readonly isComplete: boolean;
  /** True if the door closed the connection, because sent text is no longer valid. */
  readonly isBroken: boolean;
}

/** The parts that both forms of an answer have. */
abstract class BaseAnswer implements Answer {
  isComplete = false;
  isBroken = false;
  protected readonly reply: FastifyReply;
  readonly #turn: ChatTurn;
  readonly #agent: AgentCard;
  readonly #created: number;

  constructor(reply: FastifyReply, turn: ChatTurn, agent: AgentCard, { clock }: DoorDeps) {
    this.reply = reply;
    this.#turn = turn;
    this.#agent = agent;
    this.#created = Math.floor(clock.now() / 1_000);
  }

  abstract onEvent(event: TurnEvent): void | Promise<void>;
  abstract fail(error: unknown): void | Promise<void>;

  /** Sets the headers of the response and returns its ids. */
  protected begin(): AnswerIds {
    const { conversationId, turnId } = this.#turn;
    this.reply.headers({ 'x-conversation-id': idHeader(conversationId), 'x-turn-id': idHeader(turnId) });
    return { conversationId, turnId, model: this.#agent.address, created: this.#created };
  }
}

export class WholeAnswer extends BaseAnswer {
  onEvent(event: TurnEvent): void {
    if (event.type !== 'done') return;
    this.isComplete = true;
    this.reply.send(completion(this.begin(), event));
  }

  fail(error: unknown): never {
    throw error;
  }
}

export class StreamedAnswer extends BaseAnswer {
  readonly #deps: DoorDeps;
  readonly #hasUsage: boolean;
  readonly #firstTimer: { stop(): void };
  #stream: EventStream | undefined;
  #chunks: ChunkWriter | undefined;
  /** Length of the text that was sent. */
  #sent = 0;

  constructor(reply: FastifyReply, turn: ChatTurn, chat: ChatRequest, agent: AgentCard, deps: DoorDeps) {
    super(reply, turn, agent, deps);
    this.#deps = deps;
    this.#hasUsage = chat.hasUsageChunk;
    // The response begins with the first event, so that a turn that fails earlier gets an error status. With a slow model, it begins
    // earlier, because the connection must not stay silent.
    this.#firstTimer = deps.clock.after(deps.options.heartbeatMs, () => void this.#begun());
  }

  async onEvent(event: TurnEvent): Promise<void> {
    if (this.isBroken) return;
    const chunks = await this.#begun();
    switch (event.type) {
      case 'text':
        return this.#text(chunks, event.text);
      case 'restart':
        if (event.keep < this.#sent) this.#break();
        return;
      case 'done':
        return this.#end(chunks, event);
    }
  }

  async #begun(): Promise<ChunkWriter> {
    this.#firstTimer.stop();
    if (this.#chunks) return this.#chunks;
    const { clock, options } = this.#deps;
    this.#chunks = new ChunkWriter(this.begin(), this.#hasUsage);
    this.#stream = sse(this.reply, { heartbeatMs: options.heartbeatMs, clock });
    await this.#send(this.#chunks.first());
    return this.#chunks;
  }

  async #text(chunks: ChunkWriter, text: string): Promise<void> {
    this.#sent += text.length;
    await this.#send(chunks.text(text));
  }

  async #end(chunks: ChunkWriter, done: DoneEvent): Promise<void> {
    if (done.text.length > this.#sent) await this.#text(chunks, done.text.slice(this.#sent));
    for (const chunk of [...chunks.last(done), '[DONE]']) await this.#send(chunk);
    this.isComplete = this.#stream?.isOver === false;
    this.#stream?.end();
  }

  /** Closes the connection: sent text is no longer valid, and the protocol cannot withdraw it. */
  #break(): void {
    this.isBroken = true;
    this.#stream?.destroy();
  }

  async fail(error: unknown): Promise<void> {
    this.#firstTimer.stop();
    if (!this.#stream) throw error;
    const known = isFabricError(error)
      ? error
      : new FabricError('INTERNAL', 'The request failed.', { cause: error });
    if (known !== error) this.#deps.log.error('a stream of the OpenAI door failed', { error });
    await this.#send(JSON.stringify(errorBody(known, statusOf(known))));
    this.#stream.end();
  }

  async #send(data: string): Promise<void> {
    await this.#stream?.send({ data });
  }
}
