// `POST /v1/chat/completions`: runs a turn and answers with the whole completion, or with its chunks.
import { FabricError } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';
import type { DoorDeps } from '../door.ts';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyReply, FastifyRequest } from '../fastify.ts';
import { type ConversationKey, conversationKey, isHelperPrompt } from '../shared/conversation-key.ts';
import { GRACE_MS, Readings, readWithGrace } from '../shared/grace.ts';
import { leftSignal } from '../shared/left-signal.ts';
import { retryOf } from '../shared/retry-key.ts';
import { type Answer, StreamedAnswer, WholeAnswer } from './chat-answer.ts';
import { type ChatRequest, readChatRequest } from './chat-request.ts';
import { ChatTurn } from './chat-turn.ts';
import { JournalTurns } from './journal-turns.ts';
import { chatAgent } from './models.ts';

/** Ends the name of a model to mark a helper prompt. */
const TASK_SUFFIX = ':task';

export class ChatCompletions {
  readonly #deps: DoorDeps;
  readonly #readings: Readings;
  readonly #journal = new JournalTurns();

  constructor(deps: DoorDeps) {
    this.#deps = deps;
    this.#readings = new Readings(deps.clock);
  }

  async create(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const visitor = await visitorOf(this.#deps.fabric, request, reply);
    const chat = readChatRequest(request.body);
    const { agent, isTask } = await this.#agentOf(visitor, chat.model);
    const key = isTask ? undefined : keyOf(request, chat);
    const retry = retryOf({
      headers: request.headers,
      principal: visitor.principal,
      path: '/v1/chat/completions',
      body: request.body,
    });
    const place = (id: string): string => JSON.stringify([visitor.principal, agent.address, id]);
    const isRepeated = retry.count > 0 || this.#readings.isLost(retry.key);
    if (key && !isRepeated) await this.#readings.clear(place(key.id));
    const isLost = (retryKey: string): boolean => this.#readings.isLost(retryKey);
    const turn = await ChatTurn.open({
      visitor,
      agent,
      chat,
      journal: this.#journal,
      clock: this.#deps.clock,
      retry,
      key,
      isLost,
    });
    const answer = chat.isStream
      ? new StreamedAnswer(reply, turn, chat, agent, this.#deps)
      : new WholeAnswer(reply, turn, agent, this.#deps);
    return this.#read(turn, answer, {
      reply,
      visitor,
      retryKey: retry.key,
      place: place(key?.id ?? turn.conversationId),
    });
  }

  async #read(
    turn: ChatTurn,
    answer: Answer,
    {
      reply,
      visitor,
      retryKey,
      place,
    }: { reply: FastifyReply; visitor: Visitor; retryKey: string; place: string },
  ): Promise<unknown> {
    const { clock, log } = this.#deps;
    const release = visitor.hold();
    const reading = new AbortController();
    const left = leftSignal(reply);
    const registered = this.#readings.add(place, () => turn.cancel());
    onAbort(left, () => {
      registered.leave();
      if (!answer.isComplete) this.#readings.lose(retryKey);
    });
    try {
      await readWithGrace(turn.events(reading.signal), {
        onEvent: (event) => answer.onEvent(event),
        left,
        // A turn whose text was withdrawn continues for the repeated request.
        cancel: () => {
          if (answer.isBroken) return;
          this.#readings.deliver(retryKey);
          reading.abort(new FabricError('CALL_CANCELLED', 'The client of the door has left.'));
        },
        graceMs: GRACE_MS,
        clock,
      });
      if (answer.isComplete && !left.aborted) this.#readings.deliver(retryKey);
    } catch (error) {
      if (!left.aborted) return await answer.fail(error);
    } finally {
      registered.end();
      turn
        .end()
        .catch((error: unknown) => log.debug('an ephemeral conversation was not ended', { error }))
        .finally(release);
    }
    return reply;
  }

  async #agentOf(visitor: Visitor, model: string): Promise<{ agent: AgentCard; isTask: boolean }> {
    if (!model.endsWith(TASK_SUFFIX)) return { agent: await chatAgent(visitor, model), isTask: false };
    return { agent: await chatAgent(visitor, model.slice(0, -TASK_SUFFIX.length)), isTask: true };
  }
}

/** The conversation that a request names, unless it is a helper prompt, which must leave it unchanged. */
function keyOf(
  { headers }: FastifyRequest,
  { metadata, messages }: ChatRequest,
): ConversationKey | undefined {
  const { runs, texts } = messages;
  const lone = runs.length === 0 && texts.length === 1 ? texts[0] : undefined;
  return isHelperPrompt(headers, metadata, lone) ? undefined : conversationKey(headers, metadata);
}
