// Two replicas of an agent behind one address, for tests of operations: each call reaches the other replica than the call before.
import {
  type CallOptions,
  type CallTarget,
  FabricError,
  type IncomingCall,
  type Service,
} from '@fame-fabric/shared';
import { Channel, errorOfReply, onAbort } from '@fame-fabric/shared/internal';
import type { AgentLink, ServeOptions, Serving } from '../agent/agent-types.ts';
import { FakeLink } from './fake-link.ts';

interface Servable {
  serve(link: AgentLink, options?: ServeOptions): Promise<Serving>;
}

/** A link whose streams reach the addresses of other links too, item by item. */
class PairedLink extends FakeLink {
  readonly #links: readonly FakeLink[];

  constructor(links: readonly FakeLink[]) {
    super();
    this.#links = links;
  }

  override stream(
    target: CallTarget,
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): AsyncGenerator<unknown, void> {
    return this.#items(String(target), method, params, options);
  }

  async *#items(
    target: string,
    method: string,
    params: unknown,
    options: CallOptions,
  ): AsyncGenerator<unknown, void> {
    const link = this.#links.find(({ bound }) => bound.has(target));
    if (!link) throw new FabricError('NO_ROUTE', `No replica serves ${target}`);
    const items = new Channel<unknown>({ name: 'the stream' });
    const call = link.start(target, method, params, {
      isStream: true,
      onItem: (item) => items.push(structuredClone(item), 0),
    });
    void call.done.then(({ error }) => (error ? items.fail(errorOfReply(error)) : items.end()));
    const leave = (explicit: string): void =>
      call.cancel(options.onLeave === 'continue' ? 'caller-gone' : explicit);
    const stopListening = onAbort(options.signal, () => {
      leave('aborted');
      items.fail(options.signal!.reason);
    });
    try {
      for (;;) {
        const { done, value } = await items.next();
        if (done) return;
        yield value;
      }
    } finally {
      stopListening();
      leave('left');
    }
  }
}

/** Serves two agents at the address of a pool. `close` ends the resources of the agents, such as a store. */
export function replicaPair(agents: readonly [Servable, Servable], close: () => Promise<void>): Servable {
  return {
    async serve(link, options) {
      const links: FakeLink[] = [];
      const servings: Serving[] = [];
      for (const agent of agents) {
        const paired = new PairedLink(links);
        links.push(paired);
        servings.push(await agent.serve(paired, options));
      }
      const [pool] = [...links[0]!.bound.keys()].filter((address) => address.includes('@*.'));
      const services = links.map(({ bound }) => bound.get(pool!)!.service);
      let calls = 0;
      const alternating: Service = {
        onCall: (call: IncomingCall) => services[calls++ % services.length]!.onCall(call),
      };
      await link.bind(pool!, alternating);
      return {
        agent: servings[0]!.agent,
        drain: async (timeoutMs) => {
          await Promise.all(servings.map((serving) => serving.drain(timeoutMs)));
          await close();
        },
        async close() {
          await Promise.all(servings.map((serving) => serving.close()));
          await close();
        },
      };
    },
  };
}
