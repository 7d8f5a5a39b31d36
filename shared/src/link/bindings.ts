// The table of addresses that this node serves, consulted for every incoming message. `binder.ts` announces them.
import { poolMatches, SYSTEM_PARTICIPANT, tryParseAddress } from '../protocol/address.ts';
import { AGENT_CAPABILITY } from './capabilities.ts';
import type { Service } from './link-types.ts';
import type { NodeIdentity } from './node-identity.ts';

export interface Binding {
  readonly address: string;
  readonly participant: string;
  /** Pool pattern such as `*.fame.fabric`; `undefined` for any other address. */
  readonly pool: string | undefined;
  /** True for a participant at this node's path. The sentinel routes to it by path, so it is not announced. */
  readonly isPhysical: boolean;
  readonly service: Service;
  readonly capabilities: readonly string[];
}

export class Bindings {
  readonly #identity: NodeIdentity;
  readonly #byAddress = new Map<string, Binding>();

  constructor(identity: NodeIdentity) {
    this.#identity = identity;
  }

  get size(): number {
    return this.#byAddress.size;
  }

  get(address: string): Binding | undefined {
    return this.#byAddress.get(address);
  }

  add(binding: Binding): void {
    this.#byAddress.set(binding.address, binding);
  }

  remove(address: string): void {
    this.#byAddress.delete(address);
  }

  values(): Iterable<Binding> {
    return this.#byAddress.values();
  }

  /** The binding that serves `address`. */
  find(address: string): Binding | undefined {
    return this.#byAddress.get(address) ?? this.#findOther(address);
  }

  // An address at this node's path is matched by its participant alone. A pool matches its own host and every host below it.
  #findOther(address: string): Binding | undefined {
    if (this.#byAddress.size === 0) return undefined;
    const isOwn = this.#identity.isOwn(address);
    const parsed = tryParseAddress(address);
    if (!parsed) return undefined;
    const { participant, host } = parsed;
    for (const binding of this.#byAddress.values()) {
      if (isOwn) {
        // The system inbox belongs to no single agent; the first binding answers for the node.
        if (binding.participant === participant || participant === SYSTEM_PARTICIPANT) return binding;
      } else if (binding.pool && binding.participant === participant && host) {
        if (poolMatches(binding.pool, host)) return binding;
      }
    }
    return undefined;
  }

  /** The first binding that has all of these capabilities. */
  findCapable(capabilities: readonly string[]): Binding | undefined {
    for (const binding of this.#byAddress.values()) {
      if (binding.isPhysical) continue;
      const fits = capabilities.every(
        (name) => name === AGENT_CAPABILITY || binding.capabilities.includes(name),
      );
      if (fits) return binding;
    }
    return undefined;
  }
}
