// The conversation agent: people and programs start a conversation and get answers from a model that receives the last turns. This
// file is the wiring. Operations are in `operations/operations.ts`, conversations in `host.ts`, and the turn loop is in
// `turn/chat-turns.ts`.

import { type Logger, rpcError, rpcResult, silentLog } from '@fame-fabric/shared';
import { defineAgent } from '../agent/agent.ts';
import type {
  Agent,
  AgentLink,
  AgentOptions,
  Operations,
  ServeOptions,
  Serving,
} from '../agent/agent-types.ts';
import { DeclaredAgent } from '../agent/declared-agent.ts';
import { describeMethod } from '../agent/describe.ts';
import type { ChatModel } from '../model/model.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { ConversationStore } from '../store/store.ts';
import type { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import type { TurnRunner } from '../turn/turn.ts';
import { type ConversationOptions, errorOfFault } from './conversation.ts';
import { ConversationHost, type HostOptions } from './host.ts';
import { conversationOperations, type OperationsOptions } from './operations/operations.ts';
import { callersAddressOf, isPoolAddress } from './replica/replica-address.ts';
import type { ReplicaHooks } from './replica/replica-serving.ts';
import type { RecoveredTurn } from './requests.ts';
import { PROGRESS_KINDS } from './turn-progress.ts';

const CHAT_ADDRESS = 'chat@fame.fabric';

export interface ChatAgentOptions
  extends Omit<HostOptions, 'isReplica'>,
    Pick<OperationsOptions, 'opening' | 'received' | 'maxMessageChars'>,
    Pick<AgentOptions, 'name' | 'version' | 'capabilities' | 'card' | 'immediateLimits'> {
  /** Operations beside those of conversations. One with the name of such an operation replaces it. @default none */
  operations?: Operations | undefined;
  /**
   * The address of a pool, such as `chat@*.fame.fabric`, makes the agent a replica: several processes serve it over one store, and
   * callers use `chat@fame.fabric`. @default 'chat@fame.fabric'
   */
  address?: string | undefined;
  description?: string | undefined;
  /** The model that answers. Give this, or `turns`. */
  model?: ChatModel | undefined;
  /** Names of models that callers may choose beside `model`, on the same server. @default none */
  models?: readonly string[] | undefined;
  /** Tools that the model may call. */
  tools?: ToolSet | undefined;
  /** Runs the turns instead of the plain chat loop. */
  turns?: TurnRunner | undefined;
  /**
   * Store of the conversations; its creator closes it. `new MemoryStore()` keeps them in memory.
   * @default with `runAgents` the store in FAME_DATA_DIR, else in memory
   */
  store?: ConversationStore | undefined;
  /** @default 'You are a helpful assistant.' */
  systemPrompt?: string | undefined;
  /** Turns that the model sees, unless the caller sets another number. @default 10 */
  maxHistoryLength?: number | undefined;
  /** Maximum model calls of one turn. @default 16 */
  maxSteps?: number | undefined;
  /** Maximum tokens of one reply. @default 4_096 */
  maxAnswerTokens?: number | undefined;
}

export class ChatAgent extends DeclaredAgent {
  protected readonly declaration: Agent;
  readonly #options: ChatAgentOptions;
  /** Address that callers use, and the agent's name in the store. */
  readonly #address: string;
  readonly #isReplica: boolean;
  readonly #turns: TurnRunner;
  #memory: ConversationStore | undefined;

  constructor(options: ChatAgentOptions) {
    super();
    this.#options = options;
    const { address = CHAT_ADDRESS } = options;
    this.#isReplica = isPoolAddress(address);
    this.#address = callersAddressOf(address);
    this.#turns = options.turns ?? runnerOf(options);
    // A declaration answers no calls.
    this.declaration = this.#declare(this.#host({}, this.#memoryStore()));
  }

  override get needsStore(): boolean {
    return this.#options.store === undefined;
  }

  async serve(link: AgentLink, options: ServeOptions = {}): Promise<Serving> {
    const store = this.#options.store ?? (await options.openStore?.()) ?? this.#memoryStore();
    const host = this.#host(options, store, link);
    if (!host.placement) return this.#declare(host).serve(link, options);
    const { ReplicaServing } = await import('./replica/replica-serving.ts');
    return ReplicaServing.open({
      agent: this.#address,
      host,
      placement: host.placement,
      link,
      options,
      declare: (replica) => this.#declare(host, replica),
    });
  }

  /** The conversations of an agent without a store outlive one serving. */
  #memoryStore(): ConversationStore {
    this.#memory ??= new MemoryStore();
    return this.#memory;
  }

  #host(
    { clock, log, quotas, observer }: ServeOptions,
    store: ConversationStore,
    link?: AgentLink,
  ): ConversationHost {
    const agent = this.#address;
    const host: ConversationHost = new ConversationHost(
      {
        runner: this.#turns,
        store,
        agent,
        link,
        clock,
        log: log?.with({ agent }),
        observer,
        // The callers of a lost replica ask again. The sentinel takes their answers from its node only.
        onRecovered:
          link && !this.#isReplica
            ? (turn) => void answerLate(host, link, turn, log ?? silentLog)
            : undefined,
      },
      {
        ...this.#options,
        quotas: this.#options.quotas ?? quotas,
        isReplica: this.#isReplica && link !== undefined,
      },
    );
    return host;
  }

  // Each serving has its own host and declaration.
  #declare(host: ConversationHost, replica?: ReplicaHooks): Agent {
    const { name, version, capabilities, card, immediateLimits, opening, received, maxMessageChars } =
      this.#options;
    const defaults: ConversationOptions = {
      systemPrompt: this.#options.systemPrompt ?? 'You are a helpful assistant.',
      maxHistoryLength: this.#options.maxHistoryLength ?? 10,
      turnPolicy: 'queue',
    };
    const address = this.#address;
    const description = this.#options.description ?? 'Holds conversations with a language model.';
    const own = conversationOperations(host, { defaults, opening, received, maxMessageChars });
    const operations = { ...(replica?.operations(own) ?? own), ...this.#options.operations };
    return defineAgent({
      address: this.#options.address ?? CHAT_ADDRESS,
      description,
      ...(name ? { name } : {}),
      ...(version ? { version } : {}),
      ...(capabilities ? { capabilities } : {}),
      card: {
        url: address,
        capabilities: { streaming: true, pushNotifications: false, stateTransitionHistory: false },
        ...card,
      },
      operations: {
        ...operations,
        describe: describeMethod({ address, description, operations }, () => ({
          model: this.#turns.modelName,
          models: this.#turns.accepts?.models ?? [this.#turns.modelName],
          options: this.#turns.accepts?.takes ?? [],
          include: PROGRESS_KINDS,
          offline: this.#turns.modelName === 'offline',
          system_prompt: defaults.systemPrompt,
          max_history_length: defaults.maxHistoryLength,
        })),
      },
      immediateLimits,
      onStart: () => host.open(),
      onDrain: () => host.drain(),
      onStop: async () => {
        await replica?.beforeStop();
        await host.close();
      },
    });
  }
}

// The caller of a turn that an earlier process accepted may still be waiting. The reader of a stream gets no answer here: it
// already has part of the text and asks again for the rest.
async function answerLate(
  host: ConversationHost,
  link: AgentLink,
  { conversationId, turnId, answerTo, outcome }: RecoveredTurn,
  log: Logger,
): Promise<void> {
  const { replyTo, callId: corrId, isStream, answer: form } = answerTo;
  if (isStream) return;
  try {
    const answer =
      form === 'outcome'
        ? rpcResult(corrId, await host.reads.report(conversationId, turnId))
        : outcome.state === 'completed'
          ? rpcResult(corrId, outcome.text)
          : rpcError(corrId, errorOfFault(outcome.error));
    link.send(replyTo, answer, { corrId });
  } catch (error) {
    log.debug('the caller of a recovered turn could not be answered', { conversationId, turnId, error });
  }
}

function runnerOf({ model, models, tools, maxSteps, maxAnswerTokens }: ChatAgentOptions): TurnRunner {
  if (!model) throw new TypeError('A chat agent needs `model` or `turns`, and neither is set.');
  return new ChatTurns({ model, models, tools, maxSteps, maxAnswerTokens });
}
