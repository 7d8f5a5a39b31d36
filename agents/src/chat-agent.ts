// The conversation agent: people and programs start a conversation with it, say things, and get answers from a model that
// remembers the last turns. This file only puts it together: the operations stand in `conversation-operations.ts`, the
// conversations in `conversation-host.ts`, a turn in `turn.ts`.
import type { AgentCard } from '@fame-fabric/shared';
import { z } from 'zod';
import { defineAgent } from './agent.ts';
import type { Agent, AgentLink, AgentOptions, ServeOptions, Serving } from './agent-types.ts';
import type { ConversationOptions } from './conversation.ts';
import { ConversationHost, type HostOptions } from './conversation-host.ts';
import { conversationOperations } from './conversation-operations.ts';
import type { ChatModel } from './model.ts';
import { operation } from './operation.ts';
import { ChatTurns, type TurnRunner } from './turn.ts';

export interface ChatAgentOptions
  extends HostOptions,
    Pick<AgentOptions, 'name' | 'version' | 'capabilities' | 'card'> {
  /** @default 'chat@fame.fabric' */
  address?: string;
  description?: string;
  /** Answers; give this, or `turns`. */
  model?: ChatModel;
  /** Runs the turns of an agent that works in a way of its own. */
  turns?: TurnRunner;
  /** @default 'You are a helpful assistant.' */
  systemPrompt?: string;
  /** Turns that the model is shown, where the caller does not say. @default 10 */
  maxHistoryLength?: number;
  /** Most model calls of one turn. @default 16 */
  maxSteps?: number;
}

export class ChatAgent implements Agent {
  readonly #agent: Agent;
  readonly #options: ChatAgentOptions;
  readonly #turns: TurnRunner;

  constructor(options: ChatAgentOptions) {
    this.#options = options;
    this.#turns = options.turns ?? chatTurns(options);
    this.#agent = this.#declare(new ConversationHost({ turns: this.#turns }));
  }

  get address(): string {
    return this.#agent.address;
  }
  get name(): string {
    return this.#agent.name;
  }
  get description(): string | undefined {
    return this.#agent.description;
  }
  get capabilities(): readonly string[] {
    return this.#agent.capabilities;
  }
  get card(): AgentCard {
    return this.#agent.card;
  }

  serve(link: AgentLink, options: ServeOptions = {}): Promise<Serving> {
    const host = new ConversationHost(
      {
        turns: this.#turns,
        ...(options.clock ? { clock: options.clock } : {}),
        ...(options.log ? { log: options.log.with({ agent: this.address }) } : {}),
      },
      this.#options,
    );
    return this.#declare(host).serve(link, options);
  }

  // Each serving has conversations of its own, so the declaration is made anew around its host.
  #declare(host: ConversationHost): Agent {
    const { name, version, capabilities, card, model } = this.#options;
    const defaults: ConversationOptions = {
      systemPrompt: this.#options.systemPrompt ?? 'You are a helpful assistant.',
      maxHistoryLength: this.#options.maxHistoryLength ?? 10,
      turnPolicy: 'queue',
    };
    const address = this.#options.address ?? 'chat@fame.fabric';
    return defineAgent({
      address,
      description: this.#options.description ?? 'Holds conversations with a language model.',
      ...(name ? { name } : {}),
      ...(version ? { version } : {}),
      ...(capabilities ? { capabilities } : {}),
      card: {
        capabilities: { streaming: true, pushNotifications: false, stateTransitionHistory: false },
        ...card,
      },
      operations: {
        ...conversationOperations(host, { defaults }),
        describe: operation({
          immediate: true,
          description: 'Which model answers, and how a conversation is set up unless the caller says.',
          params: z.object({}),
          run: () => ({
            address,
            model: this.#turns.modelName,
            offline: (model?.name ?? this.#turns.modelName) === 'offline',
            system_prompt: defaults.systemPrompt,
            max_history_length: defaults.maxHistoryLength,
          }),
        }),
      },
      onStop: () => host.close(),
    });
  }
}

function chatTurns({ model, maxSteps }: ChatAgentOptions): TurnRunner {
  if (!model) throw new TypeError('A chat agent needs a model, or turns of its own');
  return new ChatTurns({ model, ...(maxSteps ? { maxSteps } : {}) });
}
