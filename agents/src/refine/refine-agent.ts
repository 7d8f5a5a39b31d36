// The refining dialogue as an agent of the fabric: it takes a wish, asks until it is clear, has it confirmed, and completes its task
// with the goals. It has the operations of the chat agent; `start_task({objective})` asks the first questions.
import type { Agent, AgentLink, ServeOptions, Serving } from '../agent/agent-types.ts';
import { DeclaredAgent } from '../agent/declared-agent.ts';
import { ChatAgent, type ChatAgentOptions } from '../conversation/chat-agent.ts';
import type { BudgetLimits } from '../conversation/spending.ts';
import { fabricCall } from '../handoff/fabric-call.ts';
import type { PriceTable } from '../model/budget.ts';
import { RefineTurns, type RefineTurnsOptions } from './refine-turns.ts';

export interface RefineAgentOptions
  extends Omit<
      ChatAgentOptions,
      | 'model'
      | 'models'
      | 'tools'
      | 'turns'
      | 'systemPrompt'
      | 'maxSteps'
      | 'maxAnswerTokens'
      | 'maxHistoryLength'
      | 'opening'
      | 'received'
      | 'budget'
    >,
    Pick<
      RefineTurnsOptions,
      'models' | 'maxIterations' | 'finishWords' | 'retry' | 'handoffTo' | 'greeting'
    > {
  /** Limit on the cost of one dialogue, and the fraction at which a warning is logged. @default no limit; warnAt 0.8 */
  budget?: { limitUsd: number; warnAt?: number | undefined; prices: PriceTable } | undefined;
  /** Prices for the cost of turns without a limit. Ignored with `budget`, which has its own. */
  prices?: Pick<BudgetLimits, 'prices' | 'currency'> | undefined;
}

const REFINE_ADDRESS = 'refine@fame.fabric';

export class RefineAgent extends DeclaredAgent {
  readonly #options: RefineAgentOptions;
  protected readonly declaration: Agent;

  constructor(options: RefineAgentOptions) {
    super();
    this.#options = options;
    this.declaration = this.#chatAgent({});
  }

  serve(link: AgentLink, options: ServeOptions = {}): Promise<Serving> {
    const { log } = options;
    return this.#chatAgent({ remote: fabricCall(link), log }).serve(link, options);
  }

  #chatAgent(more: Pick<RefineTurnsOptions, 'remote' | 'log'>): ChatAgent {
    const {
      models,
      maxIterations = 10,
      finishWords,
      retry,
      handoffTo,
      greeting,
      budget,
      prices,
      ...options
    } = this.#options;
    const turns = new RefineTurns({
      models,
      maxIterations,
      ...more,
      finishWords,
      retry,
      handoffTo,
      greeting,
      warning: budget && { atUsd: budget.limitUsd * (budget.warnAt ?? 0.8), prices: budget.prices },
    });
    return new ChatAgent({
      ...options,
      address: options.address ?? REFINE_ADDRESS,
      description:
        options.description ?? 'Turns a wish into goals: asks, has them confirmed, hands them over.',
      systemPrompt: '',
      turns,
      // The model has to see the whole dialogue.
      maxHistoryLength: Math.min(200, maxIterations + 2),
      opening: ({ objective }) => (typeof objective === 'string' && objective.trim() ? objective : undefined),
      budget: budget ? { conversation: { maxUsd: budget.limitUsd }, prices: budget.prices } : prices,
    });
  }
}
