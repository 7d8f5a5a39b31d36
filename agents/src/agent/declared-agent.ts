// An agent that is assembled for each link that serves it, such as one with conversations. Its properties are those of a
// declaration.
import type { AgentCard } from '@fame-fabric/shared';
import type { Agent, AgentLink, ServeOptions, Serving } from './agent-types.ts';

export abstract class DeclaredAgent implements Agent {
  /** Declares the properties of the agent. */
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
  get needsStore(): boolean {
    return this.declaration.needsStore ?? false;
  }
}
