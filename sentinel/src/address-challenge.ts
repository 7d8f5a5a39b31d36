// The challenge for an address that another node holds. An exclusive address stays with its holder while the holder answers
// pings. A holder that does not answer is evicted, and its rival gets the address.
import type { Logger } from '@fame-fabric/shared';
import type { Bindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { Session } from './session/session.ts';
import type { Sessions } from './session/sessions.ts';

/** Time in which a holder must answer, in ms. */
const CHALLENGE_MS = 2_000;

export interface ChallengeDeps {
  bindings: Bindings;
  sessions: Sessions;
  log: Logger;
}

export class AddressChallenge {
  readonly #deps: ChallengeDeps;

  constructor(deps: ChallengeDeps) {
    this.#deps = deps;
  }

  /**
   * Decides whether `rival` may have `address`, and calls `onDecision`: at once if no other node holds it, else once the
   * holder has answered or failed to. The call is synchronous with the decision, so no other bind comes between the two.
   */
  decide(address: string, rival: Session, onDecision: (isGranted: boolean) => void): void {
    const { bindings, log, sessions } = this.#deps;
    const holder = bindings.ownOwner(address);
    if (holder === undefined || holder === rival) {
      onDecision(true);
      return;
    }
    void holder.ping(CHALLENGE_MS).then((isAlive) => {
      if (rival.state !== 'attached') return;
      if (bindings.ownOwner(address) !== holder) {
        // Another rival was faster, or the holder unbound: challenge the current holder, if there is one.
        this.decide(address, rival, onDecision);
      } else if (isAlive) {
        log.warn('refused a bind: the address is in use', { address, path: rival.path, holder: holder.path });
        onDecision(false);
      } else {
        log.warn('evicted a node that did not answer', { address, path: holder.path });
        sessions.end(holder, CLOSE.goingAway, 'no answer to the challenge for an address');
        onDecision(true);
      }
    });
  }
}
