// The agent of a request: its card, and the handler of its operations for the caller.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import type { AgentCard as FabricCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyReply, FastifyRequest } from '../fastify.ts';
import { onClosed } from '../shared/left-signal.ts';
import { cardOf, publicCardOf } from './agent-card.ts';
import { ChatTasks } from './chat-tasks.ts';
import { FameTasks } from './fame-tasks.ts';
import { OperationCalls } from './operation-calls.ts';
import { RequestHandler } from './request-handler.ts';
import type { AgentCard, Task } from './sdk.ts';
import type { TaskSource, TaskSourceDeps } from './task-source.ts';

/** A request below `/a2a`. Without `agent` it is for the chat agent. */
export type AgentRequest = FastifyRequest<{ Params: { agent?: string; '*'?: string } }>;

/** Matches values that can be sent in a header. */
const HEADER_VALUE = /^[\x21-\x7e]+$/;

/** Time for which the answer to a request without a credential is remembered, in ms. */
const GATE_MS = 60_000;

export class AgentRequests {
  readonly #deps: DoorDeps;
  #gate: { readonly isClosed: Promise<boolean>; readonly until: number } | undefined;

  constructor(deps: DoorDeps) {
    this.#deps = deps;
  }

  /** Returns the card of the agent of a request. @throws {NO_ROUTE | AUTH_*} */
  async card(request: AgentRequest, reply: FastifyReply): Promise<AgentCard> {
    try {
      const { agent } = await this.#visit(request, reply);
      return cardOf(agent, this.#base(request), await this.#needsCredential(request));
    } catch (error) {
      // Clients without a credential get the card of the chat agent, to learn how to authenticate. They cannot see other agents.
      if (request.params.agent !== undefined || !isFabricError(error, 'AUTH_MISSING')) throw error;
      return publicCardOf(this.#deps.options.chatAddress, this.#base(request));
    }
  }

  /** Returns the operations of the agent of a request. They end with the response. @throws {NO_ROUTE | AUTH_*} */
  async handler(request: AgentRequest, reply: FastifyReply): Promise<RequestHandler> {
    const { clock, log } = this.#deps;
    const { agent, visitor } = await this.#visit(request, reply);
    const ended = new AbortController();
    onClosed(reply, () => ended.abort(new FabricError('CALL_CANCELLED', 'The client has left')));
    const { client, principal } = visitor;
    const base = this.#base(request);
    return new RequestHandler({
      source: sourceOf({ client, principal, agent, signal: ended.signal, clock, log }),
      card: cardOf(agent, base, false),
      extendedCard: async () =>
        (await this.#needsCredential(request)) ? cardOf(agent, base, true) : undefined,
      onTask: (task) => addIds(reply, task),
      log,
    });
  }

  async #visit(request: AgentRequest, reply: FastifyReply): Promise<{ agent: FabricCard; visitor: Visitor }> {
    const { fabric, options } = this.#deps;
    const visitor = await visitorOf(fabric, request, reply);
    const name = request.params.agent ?? options.chatAddress;
    const agent = await visitor.agent(name);
    if (agent) return { agent, visitor };
    throw new FabricError('NO_ROUTE', `There is no agent ${name.slice(0, 120)}`, {
      retryable: false,
      details: { fix: '`npx fame-fabric ps` lists the agents.' },
    });
  }

  /** True if requests without a credential are refused. Checked at most once a minute. */
  async #needsCredential({ raw }: FastifyRequest): Promise<boolean> {
    // The certificate of this caller would be its credential.
    if ('authorized' in raw.socket && raw.socket.authorized === true) return true;
    const now = this.#deps.clock.monotonic();
    if (this.#gate === undefined || now >= this.#gate.until) {
      const isClosed = this.#isClosedTo(raw);
      this.#gate = { isClosed, until: now + GATE_MS };
      isClosed.catch(() => {
        this.#gate = undefined;
      });
    }
    return this.#gate.isClosed;
  }

  async #isClosedTo({ socket }: FastifyRequest['raw']): Promise<boolean> {
    try {
      const stranger = await this.#deps.fabric.visit({ headers: {}, socket });
      stranger.release();
      return false;
    } catch (error) {
      if (isFabricError(error, 'AUTH_MISSING')) return true;
      throw error;
    }
  }

  #base(request: FastifyRequest): string {
    return this.#deps.options.publicUrl ?? `${request.protocol}://${request.host}`;
  }
}

/** The tasks of an agent. An agent that cannot describe itself may be a naylence agent with tasks. */
function sourceOf(deps: TaskSourceDeps): TaskSource {
  const { isChat, hasTasks, isDescribed } = deps.agent;
  if (isChat) return new ChatTasks(deps);
  return hasTasks || !isDescribed ? new FameTasks(deps) : new OperationCalls(deps);
}

/** Names the conversation and the turn of a task in the headers. */
function addIds(reply: FastifyReply, { contextId, id, metadata }: Task): void {
  const turn: unknown = metadata?.turnId ?? id;
  if (HEADER_VALUE.test(contextId)) reply.header('x-conversation-id', contextId);
  if (typeof turn === 'string' && HEADER_VALUE.test(turn)) reply.header('x-turn-id', turn);
}
