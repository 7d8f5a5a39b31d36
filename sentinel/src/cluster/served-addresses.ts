// The addresses and capabilities of the nodes below this sentinel, as the cluster sees them. A subscription for each answers the questions
// of other sentinels, and each change is announced, so that they ask again.
import type { Bindings } from '../bindings.ts';
import type { Identity } from '../identity.ts';
import type { Session } from '../session/session.ts';
import type { Bus, BusMessage, BusSubscription } from './bus.ts';
import type { Changes, RouteAnswer } from './remote-routes.ts';
import { capabilitiesIn, type Subjects } from './subjects.ts';

/** Addresses in one announcement. An address has at most 256 bytes, and a message of the bus at most 1 MiB. */
const MAX_ANNOUNCED = 1_024;

export interface ServedAddressesDeps {
  bus: Bus;
  subjects: Subjects;
  identity: Identity;
  bindings: Bindings;
  epochOf: (address: string) => number | undefined;
}

export class ServedAddresses {
  readonly #deps: ServedAddressesDeps;
  readonly #subscriptions = new Map<string, readonly BusSubscription[]>();
  /** Changes that are announced in the next iteration of the event loop. */
  #changed = new Set<string>();

  constructor(deps: ServedAddressesDeps) {
    this.#deps = deps;
  }

  /** Number of addresses that this sentinel answers for. */
  get size(): number {
    return this.#subscriptions.size;
  }

  /** Subscribes for an address that a node below this sentinel has bound, and announces it. */
  bound(address: string): void {
    const { bus, subjects } = this.#deps;
    if (!this.#subscriptions.has(address)) {
      const answer = (message: BusMessage): void => this.#answer(message);
      this.#subscriptions.set(
        address,
        subjects.served(address).map((subject) => bus.subscribe(subject, answer)),
      );
    }
    this.announce(address);
  }

  /** Unsubscribes from an address that no node below this sentinel serves any more, and announces that. */
  unbound(address: string): void {
    const subscriptions = this.#subscriptions.get(address);
    if (subscriptions === undefined) return;
    for (const subscription of subscriptions) subscription.unsubscribe();
    this.#subscriptions.delete(address);
    this.announce(address);
  }

  /** Announces all addresses again, because changes may have been lost. */
  announceAll(): void {
    for (const address of this.#subscriptions.keys()) this.announce(address);
  }

  /** Announces the present state of an address. */
  announce(address: string): void {
    this.#changed.add(address);
    if (this.#changed.size > 1) return;
    setImmediate(() => {
      const { bindings, bus, epochOf, identity, subjects } = this.#deps;
      const addresses = [...this.#changed];
      this.#changed = new Set();
      if (!bus.isConnected) return;
      for (let at = 0; at < addresses.length; at += MAX_ANNOUNCED) {
        const part = addresses.slice(at, at + MAX_ANNOUNCED);
        const isBound = (address: string): boolean => this.#subscriptions.has(address);
        const changes: Changes = {
          id: identity.id,
          bound: part.filter(isBound).map((address) => [address, epochOf(address) ?? null]),
          unbound: part.filter((address) => !isBound(address)),
          closed: part.filter((address) => bindings.hasKeyedMember(address)),
        };
        bus.publish(subjects.changes, Buffer.from(JSON.stringify(changes)));
      }
    });
  }

  // Without an answer the question expires: an unbind has just overtaken it.
  #answer({ payload, reply }: BusMessage): void {
    const { bindings, bus, identity } = this.#deps;
    const address = Buffer.from(payload).toString('utf8');
    const names = capabilitiesIn(address);
    const owner = bindings.ownOwner(address);
    const session: Session | undefined =
      names.length > 0
        ? bindings.provider(names, undefined, address)
        : (owner ?? bindings.poolMember(address, undefined, address));
    if (reply === '') return;
    const isServed = session?.kind === 'node';
    // A node may have the first capability of several, and not the others.
    if (!isServed && names.length < 2) return;
    const answer: RouteAnswer = {
      id: identity.id,
      path: isServed ? session.path : '',
      isPool: owner === undefined,
    };
    bus.publish(reply, Buffer.from(JSON.stringify(answer)));
  }

  /** Ends all subscriptions. */
  close(): void {
    for (const address of [...this.#subscriptions.keys()]) {
      for (const subscription of this.#subscriptions.get(address)!) subscription.unsubscribe();
      this.#subscriptions.delete(address);
    }
  }
}

/** Reads an announcement of changes. Undefined if it is none. */
export function readChanges(payload: Uint8Array): Changes | undefined {
  try {
    const changes = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<Changes> | null;
    const { id, bound, unbound, closed } = changes ?? {};
    const isValid = typeof id === 'string' && isBound(bound) && isTexts(unbound) && isTexts(closed);
    return isValid ? { id, bound, unbound, closed } : undefined;
  } catch {
    // Another version announces in another form; a refused call ends a stale route, too.
    return undefined;
  }
}

const isBound = (value: unknown): value is Changes['bound'] =>
  Array.isArray(value) && value.every((one) => Array.isArray(one) && typeof one[0] === 'string');

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string');
