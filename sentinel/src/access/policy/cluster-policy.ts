// The policy of a sentinel in a cluster: the one that was changed last at any of its sentinels. `cluster/shared-rules.ts` carries it between
// them. Without a connection, the sentinel keeps the policy that it had, and its own file still takes effect.
import type { Logger } from '@fame-fabric/shared';
import type { PolicySource } from '../permissions.ts';
import type { Policy } from './policy.ts';
import type { PolicyFile } from './policy-file.ts';

/** A policy on its way between sentinels. */
export interface SharedPolicy {
  /** Id of the sentinel whose file it is from. */
  readonly sentinel: string;
  readonly text: string;
}

export class ClusterPolicy implements PolicySource {
  readonly #own: PolicyFile | undefined;
  readonly #log: Logger;
  #shared: { readonly text: string; readonly policy: Policy } | undefined;
  /** Text of the last shared policy that was faulty. */
  #faultyText: string | undefined;
  #fault: string | undefined;
  #hasChanged = false;
  #unsentText: string | undefined;
  /** Called after a change of the own file. */
  onChange: (() => void) | undefined;

  /** @param own the policy file of this sentinel. @default none */
  constructor(own: PolicyFile | undefined, log: Logger) {
    this.#own = own;
    this.#log = log;
  }

  get policy(): Policy | undefined {
    return this.#shared?.policy ?? this.#own?.policy;
  }

  /** Text of the policy in force. */
  get text(): string | undefined {
    return this.#shared?.text ?? this.#own?.text;
  }

  /** Text of the own file. */
  get ownText(): string | undefined {
    return this.#own?.text;
  }

  /** Text of the own file if it changed, until the cluster has it. */
  get unsentText(): string | undefined {
    return this.#unsentText;
  }

  /** Fault of the policy of the cluster. Undefined while another policy is in force: without any policy, roles would decide. */
  get fault(): string | undefined {
    return this.policy === undefined ? this.#fault : undefined;
  }

  refresh(isForced = false): boolean {
    const before = this.#own?.text;
    const isRead = this.#own?.refresh(isForced) === true;
    const hasChanged = this.#hasChanged || isRead;
    this.#hasChanged = false;
    if (isRead && this.#own?.text !== before) {
      this.#unsentText = this.#own?.text;
      this.#shared = undefined;
      this.onChange?.();
    }
    return hasChanged;
  }

  /** Records that the cluster has the text of the own file. */
  sent(text: string): void {
    if (this.#unsentText === text) this.#unsentText = undefined;
  }

  /** Puts the policy of another sentinel into force with the next `refresh`. Returns false if it is faulty. */
  async adopt({ sentinel, text }: SharedPolicy): Promise<boolean> {
    if (text === this.#faultyText) return false;
    const { parsePolicy } = await import('./parse-policy.ts');
    const { policy, faults } = parsePolicy(`${sentinel}:policy`, text);
    if (policy === undefined) {
      this.#faultyText = text;
      this.#fault = faults[0]?.message ?? 'it has a fault';
      // A newer version of the software may accept more fields.
      this.#log.error(
        'this sentinel cannot read the policy of the cluster; the last good policy stays in force',
        {
          sentinel,
          fault: faults[0]?.message,
        },
      );
      return false;
    }
    // The own file changed in the meantime, and comes next.
    if (this.#unsentText !== undefined) return false;
    this.#faultyText = undefined;
    this.#shared = { text, policy };
    this.#hasChanged = true;
    this.#log.info('the policy of the cluster is in force', { sentinel, rules: policy.rules.length });
    return true;
  }
}
