// A team as an agent of the fabric. It has the operations of the chat agent; several specialized agents share its address.
import type { Agent, AgentLink, ServeOptions, Serving } from '../agent/agent-types.ts';
import { DeclaredAgent } from '../agent/declared-agent.ts';
import { ChatAgent, type ChatAgentOptions } from '../conversation/chat-agent.ts';
import { fabricCall } from '../handoff/fabric-call.ts';
import { HANDOFF_META, metaOf, readMeta } from '../handoff/handoff.ts';
import type { Team } from './team.ts';
import { describeTeamMethod } from './team-description.ts';
import { TeamTurns, type TeamTurnsOptions } from './team-turns.ts';

export interface TeamAgentOptions
  extends Omit<
    ChatAgentOptions,
    'model' | 'tools' | 'turns' | 'systemPrompt' | 'maxSteps' | 'maxAnswerTokens' | 'opening' | 'received'
  > {
  team: Team;
  /** Used as the system message; the first agent of the team reads it as a note. @default none */
  note?: string | undefined;
  greeting?: string | undefined;
}

const TEAM_ADDRESS = 'team@fame.fabric';

export class TeamAgent extends DeclaredAgent {
  readonly #options: TeamAgentOptions;
  protected readonly declaration: Agent;

  /** The address is that of the options, else that of the team file, else team@fame.fabric. */
  constructor(options: TeamAgentOptions) {
    super();
    this.#options = options;
    this.declaration = this.#chatAgent({});
  }

  serve(link: AgentLink, options: ServeOptions = {}): Promise<Serving> {
    return this.#chatAgent({ remote: fabricCall(link) }).serve(link, options);
  }

  #chatAgent(more: Pick<TeamTurnsOptions, 'remote'>): ChatAgent {
    const { team, note, greeting, description, ...options } = this.#options;
    const address = options.address ?? team.address ?? TEAM_ADDRESS;
    const budget = { ...(team.prices ? { prices: team.prices } : {}), ...options.budget };
    const { turn, prices, currency } = budget;
    return new ChatAgent({
      ...options,
      operations: {
        describe_team: describeTeamMethod(team, { budget: turn, prices, currency }),
        ...options.operations,
      },
      address,
      description: description ?? team.description ?? 'A team of agents that share the work.',
      systemPrompt: note ?? '',
      budget,
      turns: new TeamTurns(team, { address, ...more, greeting }),
      // The counters of a handoff arrive in the metadata of the call; with the start they become part of the journal.
      received: ({ meta, log }) => {
        const counters = readMeta(meta, log);
        return counters ? { [HANDOFF_META]: metaOf(counters) } : {};
      },
    });
  }
}
