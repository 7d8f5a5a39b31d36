// An agent that is put together anew for each serving, with the link or clock of that serving, and says of itself what its
// declaration says. The agents that hold conversations are of this kind.
import type { AgentCard } from '@fame-fabric/shared';
import type { Agent, AgentLink, ServeOptions, Serving } from './agent-types.ts';

export abstract class DeclaredAgent implements Agent {
  /** What it is outside of any serving. */
  protected abstract readonly declaration: Agent;

  abstract serve(link: AgentLink, options?: ServeOptions): Promise<Serving>;

  get address(): string {
    return this.declaration.address;
  }
  get name(): string {
    return this.declaration.name;
  }
  get description(): string | undefined {
    return this.declaration.description;
  }
  get capabilities(): readonly string[] {
    return this.declaration.capabilities;
  }
  get card(): AgentCard {
    return this.declaration.card;
  }
}
