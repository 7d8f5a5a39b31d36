// Announces the addresses that this node serves: binds and advertises them, again after every attach. The sentinel may have
// lost its state, and binding twice is harmless. Retries a failed rebind with a growing delay.
import { backoffDelayMs } from '../async/backoff.ts';
import type { Clock, Timer } from '../async/clock.ts';
import { isErrorCode } from '../errors/codes.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import { parseAddress } from '../protocol/address.ts';
import type { Binding, Bindings } from './bindings.ts';
import { AGENT_CAPABILITY } from './capabilities.ts';
import type { Control } from './control.ts';
import type { BindOptions, Service } from './link-types.ts';
import type { NodeIdentity } from './node-identity.ts';

/** Addresses rebound in parallel. */
const BATCH = 16;
const RETRY_DELAYS = Object.freeze({ minMs: 1_000, maxMs: 30_000 });

export interface BinderDeps {
  clock: Clock;
  log: Logger;
  identity: NodeIdentity;
  bindings: Bindings;
  control: Control;
  isAttached: () => boolean;
  /** Resolves at the next attach. @throws {LINK_CLOSED} when the link is closed first */
  nextAttach: () => Promise<void>;
}

export class Binder {
  readonly #deps: BinderDeps;
  readonly #retries = new Map<string, Timer>();
  /** Number of attaches. Work for an earlier attach stops. */
  #round = 0;
  /** True while the link drains. No address is rebound then. */
  #isWithdrawn = false;

  constructor(deps: BinderDeps) {
    this.#deps = deps;
  }

  /**
   * Binds an address.
   * @throws {ADDRESS_INVALID | ADDRESS_IN_USE | ADDRESS_FORBIDDEN | LINK_TIMEOUT | LINK_CLOSED} or the code of the ack
   */
  async bind(address: string, service: Service, options: BindOptions): Promise<void> {
    const { participant, host, path } = parseAddress(address);
    const { bindings, identity } = this.#deps;
    if (bindings.get(address)) {
      throw new FabricError('ADDRESS_IN_USE', `${address} is already bound on this link`);
    }
    if (path !== undefined && !identity.isOwn(address)) {
      throw new FabricError('ADDRESS_FORBIDDEN', `${address} is not at this node's path ${identity.path}`);
    }
    const binding: Binding = {
      address,
      participant,
      pool: host?.startsWith('*.') ? host : undefined,
      isPhysical: path !== undefined,
      service,
      capabilities: options.capabilities ?? [],
    };
    bindings.add(binding);
    if (binding.isPhysical) return;
    try {
      for (;;) {
        try {
          await this.#announce(binding);
          return;
        } catch (error) {
          // The connection was lost. `attached` rebinds every address, but this caller waits for its own ack.
          if (!isFabricError(error, 'LINK_CLOSED') || bindings.get(address) !== binding) throw error;
          await this.#deps.nextAttach();
        }
      }
    } catch (error) {
      if (bindings.get(address) === binding) bindings.remove(address);
      throw error;
    }
  }

  /** Stops serving an address. A sentinel that is not connected drops the binding with the session. */
  async unbind(address: string): Promise<void> {
    const { bindings, control, isAttached } = this.#deps;
    const binding = bindings.get(address);
    if (!binding) return;
    bindings.remove(address);
    this.#stopRetry(address);
    if (binding.isPhysical || !isAttached()) return;
    const capabilities = [AGENT_CAPABILITY, ...binding.capabilities];
    try {
      await control.request({ type: 'CapabilityWithdraw', capabilities, address });
      await control.request({ type: 'AddressUnbind', address });
    } catch (error) {
      if (!isFabricError(error, 'LINK_CLOSED')) throw error;
    }
  }

  async #announce(binding: Binding): Promise<void> {
    const { control, identity } = this.#deps;
    const { address } = binding;
    checkAck(await control.request({ type: 'AddressBind', address, physicalPath: identity.path }), address);
    const capabilities = [AGENT_CAPABILITY, ...binding.capabilities];
    checkAck(await control.request({ type: 'CapabilityAdvertise', capabilities, address }), address);
  }

  /** Rebinds every address, on a new connection. */
  async attached(): Promise<void> {
    const round = ++this.#round;
    this.stop();
    if (this.#isWithdrawn) return;
    const { bindings } = this.#deps;
    const all = [...bindings.values()].filter((binding) => !binding.isPhysical);
    for (let at = 0; at < all.length && round === this.#round; at += BATCH) {
      await Promise.all(all.slice(at, at + BATCH).map((binding) => this.#reannounce(binding, round, 0)));
    }
  }

  async #reannounce(binding: Binding, round: number, attempt: number): Promise<void> {
    const { bindings, clock, log } = this.#deps;
    const { address } = binding;
    try {
      await this.#announce(binding);
    } catch (error) {
      const isCurrent = round === this.#round && bindings.get(address) === binding;
      if (!isCurrent || isFabricError(error, 'LINK_CLOSED')) return;
      const retryMs = Math.round(backoffDelayMs(attempt, RETRY_DELAYS));
      log.warn('could not rebind an address', { address, retryMs, error });
      const timer = clock.after(retryMs, () => {
        this.#retries.delete(address);
        void this.#reannounce(binding, round, attempt + 1);
      });
      this.#retries.set(address, timer);
    }
  }

  #stopRetry(address: string): void {
    this.#retries.get(address)?.stop();
    this.#retries.delete(address);
  }

  /** Unbinds every address, without waiting. `Serving` refuses the calls that still arrive. */
  withdrawAll(): void {
    const { bindings, control, log } = this.#deps;
    this.#isWithdrawn = true;
    this.stop();
    for (const { address, isPhysical } of bindings.values()) {
      if (isPhysical) continue;
      control.request({ type: 'AddressUnbind', address }).catch((error: unknown) => {
        log.debug('could not unbind an address', { address, error });
      });
    }
  }

  /** Stops all retries. The next attach starts over. */
  stop(): void {
    for (const timer of this.#retries.values()) timer.stop();
    this.#retries.clear();
  }
}

function checkAck(
  ack: { ok: boolean; code?: string | undefined; reason?: string | undefined },
  address: string,
): void {
  if (ack.ok) return;
  const code = isErrorCode(ack.code) ? ack.code : 'ADMIT_REFUSED';
  throw new FabricError(
    code,
    ack.reason || `The sentinel refused to bind ${address} (${ack.code ?? 'no code'})`,
  );
}
