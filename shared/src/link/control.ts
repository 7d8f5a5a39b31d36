// Requests to the sentinel itself (bind, unbind, advertise, withdraw): one envelope, one ack with the same corrId, one
// deadline. Requests never wait for credit. A lost connection fails them at once; the requester decides whether to retry.
import type { Clock } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import { type Envelope, type Frame, makeEnvelope, RTYPE } from '../protocol/envelope.ts';
import { timeText } from '../text/time-text.ts';
import type { Neighbor } from './neighbor.ts';
import type { NodeIdentity } from './node-identity.ts';
import { Pending, type Waiter } from './pending.ts';

/** Time limit for the ack of a control frame, in ms. */
const ACK_TIMEOUT_MS = 20_000;

type Ack = Extract<Frame, { ok: boolean }>;

class ControlRequest implements Waiter {
  readonly corrId = newId();
  readonly deadline: number;
  readonly #frameType: string;
  readonly #resolve: (ack: Ack) => void;
  readonly fail: (error: unknown) => void;

  constructor(
    frameType: string,
    deadline: number,
    resolve: (ack: Ack) => void,
    reject: (error: unknown) => void,
  ) {
    this.#frameType = frameType;
    this.deadline = deadline;
    this.#resolve = resolve;
    this.fail = reject;
  }

  onDue(): void {
    const message = `The sentinel did not acknowledge ${this.#frameType} within ${timeText(ACK_TIMEOUT_MS)}`;
    this.fail(new FabricError('LINK_TIMEOUT', message));
  }

  onAck(ack: Ack): void {
    this.#resolve(ack);
  }
}

export class Control {
  readonly #pending: Pending<ControlRequest>;
  readonly #clock: Clock;
  readonly #neighbor: Neighbor;
  readonly #identity: NodeIdentity;

  constructor(deps: { clock: Clock; neighbor: Neighbor; identity: NodeIdentity }) {
    this.#clock = deps.clock;
    this.#neighbor = deps.neighbor;
    this.#identity = deps.identity;
    this.#pending = new Pending(deps.clock);
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Sends a frame and waits for its ack. @throws {LINK_CLOSED | LINK_TIMEOUT} */
  request(frame: Frame): Promise<Ack> {
    return new Promise((resolve, reject) => {
      const request = new ControlRequest(
        frame.type,
        this.#clock.monotonic() + ACK_TIMEOUT_MS,
        resolve,
        reject,
      );
      const identity = this.#identity;
      const sent = this.#neighbor.sendControl(
        makeEnvelope(
          frame,
          identity.header({
            traceId: newId(),
            replyTo: identity.systemAddress,
            rtype: RTYPE.ack,
            corrId: request.corrId,
          }),
        ),
      );
      if (sent) this.#pending.add(request);
      else reject(new FabricError('LINK_CLOSED', `${frame.type} was not sent: there is no connection`));
    });
  }

  /** Settles the request with the corrId of this ack. */
  onAck(envelope: Envelope): void {
    const request = envelope.corrId === undefined ? undefined : this.#pending.get(envelope.corrId);
    if (!request) return;
    this.#pending.remove(request);
    request.onAck(envelope.frame as Ack);
  }

  /** Fails every open request, because their acks were lost with the connection. */
  failAll(error: FabricError): void {
    this.#pending.failAll(error);
  }
}
