// THE PATH. What happens to every message of an attached node, in the order it happens: receive, read, check, look up,
// hand on, or answer no. All of it is synchronous: nothing here waits, parses a payload or copies a table. A plain Data
// envelope is read by its header alone and its bytes are handed on untouched; anything else goes through the codec.
// Link-local frames go to `control.ts`; who is let in at all is decided in `admission.ts`.
import {
  decode,
  type Envelope,
  type ErrorCode,
  encode,
  FabricError,
  isFabricError,
  isUnder,
  LIMITS,
  type Logger,
  RTYPE,
  tryParseAddress,
} from '@fame-fabric/shared';
import { Credit, Header, readCredit, readHeader } from '@fame-fabric/shared/protocol/router/header';
import type { Bindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { Control } from './control.ts';
import type { Counters } from './http/metrics.ts';
import type { TraceTap } from './http/trace.ts';
import { endsStream, itemHeadOf, type OpenCalls } from './open-calls.ts';
import { type Identity, nack, type Refused } from './replies.ts';
import type { Session, Ticker } from './session/session.ts';
import type { Sessions } from './session/sessions.ts';

/** Bad frames within a minute that close a connection. */
const BAD_FRAMES_LIMIT = 5;
const MINUTE_MS = 60_000;
const WANTS_ANSWER = RTYPE.reply | RTYPE.stream;

export interface RouterParts {
  self: Identity;
  ticker: Ticker;
  sessions: Sessions;
  bindings: Bindings;
  calls: OpenCalls;
  control: Control;
  counters: Counters;
  trace: TraceTap;
  log: Logger;
}

/** Addresses whose paths are remembered. */
const MAX_PATHS = 4_096;

/** The paths of physical addresses (`mailbox@/S/node`): cut out once, and remembered while the address is in use. */
class Paths {
  readonly #paths = new Map<string, string>();

  /** The path of an address, empty for one that is logical. */
  of(address: string): string {
    const known = this.#paths.get(address);
    if (known !== undefined) return known;
    const at = address.lastIndexOf('@') + 1;
    const path = address.charCodeAt(at) === 47 ? address.slice(at) : '';
    if (this.#paths.size >= MAX_PATHS) this.#paths.clear();
    this.#paths.set(address, path);
    return path;
  }
}

export class Router {
  readonly #parts: RouterParts;
  readonly #header = new Header();
  readonly #credit = new Credit();
  readonly #paths = new Paths();
  /** While draining, no new calls pass; answers to open ones do. */
  draining = false;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  /** Takes one message of an attached node to wherever it belongs. Never throws. */
  receive(from: Session, bytes: Buffer): void {
    // 1. Receive. What a node sends between its end and that of its connection comes from nobody.
    if (from.state === 'gone') return;
    from.heardAt = this.#parts.ticker.now;
    const header = this.#header;

    // 2. Read: the header of a plain envelope, or all of anything else.
    if (!readHeader(bytes, header)) {
      if (header.frameAt > 0 && header.to === '' && readCredit(bytes, header.frameAt, this.#credit)) {
        from.addCredit(this.#credit.flowId, this.#credit.credits);
      } else this.#receiveUnusual(from, bytes);
      return;
    }
    if (header.flowId === '' || (header.to === '' && header.replyTo === '')) {
      this.#receiveUnusual(from, bytes);
      return;
    }

    // 3. Check.
    if (bytes.length > LIMITS.maxEnvelopeBytes) {
      this.#refuseLarge(from, header, bytes.length);
      return;
    }
    if (
      header.replyTo !== from.checkedReplyTo &&
      header.replyTo !== '' &&
      !this.#mayReplyTo(from, header.replyTo)
    ) {
      this.#refuse(
        from,
        header,
        'REPLY_TO_FORGED',
        'replyTo does not lie under the path of the sender',
        bytes.length,
      );
      return;
    }

    // 4. Look up.
    const target = this.#find(from, header);

    // 5. Hand on, or answer no.
    this.#handOn(from, target, header, bytes);
  }

  // Finds who gets a message: a bound address, a pool, a path below us or a peer's, else the parent.
  #find(from: Session, header: Header): Session | undefined {
    const { bindings, sessions, self } = this.#parts;
    const { to } = header;
    const path = this.#paths.of(to);
    if (path !== '') {
      const exact = sessions.byPath(path);
      if (exact !== undefined) return exact;
      // Below a child sentinel: the segment behind our own path names it.
      if (isUnder(path, self.path)) {
        const next = path.indexOf('/', self.path.length + 1);
        return next < 0 ? undefined : sessions.byPath(path.slice(0, next));
      }
      return sessions.peerOf(path) ?? sessions.parent;
    }
    const owner = bindings.owner(to);
    if (owner !== undefined && owner !== from) return owner;
    return (
      (bindings.hasPools ? bindings.poolMember(to, from, header.id) : undefined) ?? owner ?? sessions.parent
    );
  }

  #handOn(from: Session, target: Session | undefined, header: Header, bytes: Buffer): void {
    const { counters, calls, trace } = this.#parts;
    const wantsAnswer = (header.rtype & WANTS_ANSWER) !== 0 && header.corrId !== '';
    if (target === undefined || target === from) {
      const valid = header.to === '' || tryParseAddress(header.to) !== undefined;
      if (!valid)
        this.#refuse(from, header, 'ADDRESS_INVALID', `"${header.to}" is not an address`, bytes.length);
      else
        this.#refuse(
          from,
          header,
          'NO_ROUTE',
          `Nobody serves ${header.to || 'these capabilities'}`,
          bytes.length,
        );
      return;
    }
    let waitFor: Session | undefined;
    let endsFlow = false;
    if (wantsAnswer) {
      if (target.state !== 'attached') {
        this.#refuse(from, header, 'NODE_GONE', `The node that serves ${header.to} is away`, bytes.length);
        return;
      }
      if (target.isBusy || this.draining) {
        const why = this.draining
          ? 'The sentinel is shutting down'
          : `The node that serves ${header.to} is behind`;
        this.#refuse(from, header, 'NODE_BUSY', why, bytes.length);
        return;
      }
    } else {
      const call = header.corrId === '' ? undefined : target.calls?.get(header.corrId);
      const answers = call !== undefined && call.callee === from;
      if (answers && (!call.isStream || endsStream(bytes, header.frameAt, call))) {
        calls.close(call);
        endsFlow = call.isStream && from.hasStreamFlows;
      } else if (target.isHigh(header.flowId)) waitFor = target;
    }

    from.countReceived(header.flowId, waitFor);
    if (!this.#pass(from, target, header, bytes)) return;
    if (wantsAnswer) {
      const isStream = (header.rtype & RTYPE.stream) !== 0;
      calls.open({
        caller: from,
        callee: target,
        corrId: header.corrId,
        id: header.id,
        replyTo: header.replyTo,
        isStream,
        itemHead: itemHeadOf(header.corrId, isStream),
      });
    } else if (endsFlow) {
      from.endFlow(header.flowId);
      target.endFlow(header.flowId);
    }
    counters.forwarded++;
    counters.forwardedBytes += bytes.length;
    if (trace.active) this.#tap('forward', from, header, bytes.length, { via: target.path });
  }

  #tap(
    dir: 'forward' | 'refuse',
    from: Session,
    header: Header,
    bytes: number,
    more: { via?: string; code?: ErrorCode },
  ): void {
    const { to, corrId, id } = header;
    this.#parts.trace.add({
      t: Date.now(),
      dir,
      type: 'Data',
      from: from.path,
      to,
      corrId,
      id,
      bytes,
      ...more,
    });
  }

  #pass(from: Session, target: Session, header: Header, bytes: Buffer): boolean {
    if (target.enqueue(bytes, header.flowId)) return true;
    const { counters, log, sessions } = this.#parts;
    counters.closedSlow++;
    log.warn('closed a node whose queue is full', { path: target.path, queuedBytes: target.queuedBytes });
    sessions.end(target, CLOSE.slowConsumer, 'outbound queue full');
    this.#refuse(from, header, 'NODE_BUSY', `The node that serves ${header.to} does not read`, bytes.length);
    return false;
  }

  #mayReplyTo(from: Session, replyTo: string): boolean {
    if (from.kind !== 'parent') {
      const at = replyTo.lastIndexOf('@');
      if (at <= 0 || !isUnder(replyTo.slice(at + 1), from.path) || tryParseAddress(replyTo) === undefined)
        return false;
    }
    from.checkedReplyTo = replyTo;
    return true;
  }

  // What is not a plain Data envelope: read whole, then handled here, or routed with a header made from it.
  #receiveUnusual(from: Session, bytes: Buffer): void {
    const { counters, control } = this.#parts;
    counters.decoded++;
    let envelope: Envelope;
    try {
      envelope = decode(bytes);
      if ('reply_to' in envelope) {
        throw new FabricError('PROTO_MALFORMED', 'Envelope keys are camelCase: replyTo, not reply_to');
      }
    } catch (error) {
      this.#complain(from, bytes, error);
      return;
    }
    const { frame } = envelope;
    const routed =
      frame.type === 'Data' ||
      frame.type === 'SecureOpen' ||
      frame.type === 'SecureAccept' ||
      frame.type === 'SecureClose' ||
      (frame.type === 'DeliveryAck' && envelope.to !== undefined);
    if (!routed) {
      if (frame.type !== 'CreditUpdate' && envelope.flowId !== undefined) {
        from.countReceived(envelope.flowId, undefined);
      }
      control.receive(from, envelope, bytes.length);
      return;
    }
    this.#routeDecoded(from, envelope, bytes);
  }

  #routeDecoded(from: Session, envelope: Envelope, bytes: Buffer): void {
    const { bindings, sessions, self } = this.#parts;
    const header = new Header();
    header.id = envelope.id;
    header.to = envelope.to ?? '';
    header.replyTo = envelope.replyTo ?? '';
    header.corrId = envelope.corrId ?? '';
    header.flowId = envelope.flowId ?? '';
    header.rtype = envelope.rtype ?? 0;
    if (
      header.replyTo !== '' &&
      header.replyTo !== from.checkedReplyTo &&
      !this.#mayReplyTo(from, header.replyTo)
    ) {
      this.#refuse(
        from,
        header,
        'REPLY_TO_FORGED',
        'replyTo does not lie under the path of the sender',
        bytes.length,
      );
      return;
    }
    let target: Session | undefined;
    if (header.to !== '') target = this.#find(from, header);
    else if (envelope.capabilities !== undefined) {
      target = bindings.provider(envelope.capabilities, from, header.id) ?? sessions.parent;
    } else {
      this.#refuse(
        from,
        header,
        'NO_ROUTE',
        'The message has neither an address nor capabilities',
        bytes.length,
      );
      return;
    }
    let passedOn = bytes;
    if (envelope.ttl !== undefined || header.flowId === '') {
      if (envelope.ttl !== undefined) {
        if (envelope.ttl <= 0) {
          this.#refuse(from, header, 'HOPS_EXCEEDED', 'The ttl of the envelope is used up', bytes.length);
          return;
        }
        envelope.ttl--;
      }
      if (header.flowId === '') {
        header.flowId = `${self.flowId}-${from.systemId}`;
        envelope.flowId = header.flowId;
      }
      passedOn = Buffer.from(encode(envelope));
    }
    if (envelope.frame.type === 'DeliveryAck') {
      this.#passAck(from, target, header, envelope.frame.ok, passedOn);
      return;
    }
    header.frameAt = Math.max(0, passedOn.indexOf('"frame"'));
    this.#handOn(from, target, header, passedOn);
  }

  // A delivery ack is nobody's request: it goes to its address or nowhere. A negative one ends the call it names.
  #passAck(from: Session, target: Session | undefined, header: Header, ok: boolean, bytes: Buffer): void {
    const { calls, self } = this.#parts;
    from.countReceived(header.flowId, undefined);
    if (target === undefined || target === from || header.to.endsWith(`@${self.path}`)) return;
    const call = target.calls?.get(header.corrId);
    if (!ok && call !== undefined && call.callee === from) calls.close(call);
    this.#pass(from, target, header, bytes);
  }

  // Too large to pass. When it was an answer, the one who waits for it is told as well.
  #refuseLarge(from: Session, header: Header, size: number): void {
    const { calls, self } = this.#parts;
    const reason = `The envelope has ${size} bytes; the limit is ${LIMITS.maxEnvelopeBytes}`;
    this.#refuse(from, header, 'MESSAGE_TOO_LARGE', reason, size);
    const caller = header.corrId === '' ? undefined : this.#find(from, header);
    const call = caller?.calls?.get(header.corrId);
    if (call === undefined || call.callee !== from) return;
    calls.close(call);
    caller!.sendControl(nack(self, call, 'MESSAGE_TOO_LARGE', reason));
  }

  /** Answers no: to the caller's mailbox where there is one, else as a note on the sender's own connection. */
  #refuse(from: Session, header: Header, code: ErrorCode, reason: string, size: number): void {
    const { counters, self, trace } = this.#parts;
    counters.refuse(code);
    if (header.flowId !== '') from.countReceived(header.flowId, undefined);
    // A peer's or parent's own NACK to a NACK could bounce for ever; only what asked for something is answered.
    from.sendControl(nack(self, header, code, reason));
    if (trace.active) this.#tap('refuse', from, header, size, { code });
  }

  // A message that is no envelope of ours: it is answered, and counted; the fifth within a minute closes the connection.
  #complain(from: Session, bytes: Buffer, error: unknown): void {
    const { counters, log, self, sessions, ticker } = this.#parts;
    const code = isFabricError(error) ? error.code : 'PROTO_MALFORMED';
    const reason = isFabricError(error) ? error.message : 'The message cannot be read';
    counters.badFrames++;
    from.sendControl(nack(self, whoAsked(bytes), code, reason));
    // An unknown frame may come from a newer node, and a large message from an honest one: neither is an attack.
    if (code === 'PROTO_UNKNOWN_FRAME' || code === 'MESSAGE_TOO_LARGE') return;
    if (ticker.now - from.badSince > MINUTE_MS) {
      from.badSince = ticker.now;
      from.badFrames = 0;
      log.warn('a node sent a bad frame', {
        path: from.path,
        code,
        size: bytes.length,
        head: bytes.subarray(0, 32).toString('hex'),
      });
    }
    if (++from.badFrames >= BAD_FRAMES_LIMIT) {
      log.warn('closed a node that keeps sending bad frames', { path: from.path, code });
      sessions.end(from, CLOSE.badFrames, `${BAD_FRAMES_LIMIT} bad frames within a minute`);
    }
  }
}

// Who waits for an answer to a message that was refused; empty where the message does not say.
function whoAsked(bytes: Buffer): Refused {
  // The fields before the frame are filled even when what stands behind them is broken.
  const header = new Header();
  if (readHeader(bytes, header) || header.frameAt > 0) return header;
  let parsed: Record<string, unknown> = {};
  try {
    const value: unknown =
      bytes.length > LIMITS.maxEnvelopeBytes ? undefined : JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null) parsed = value as Record<string, unknown>;
  } catch {
    // Not JSON at all: there is nobody to name, and the note goes to the connection.
  }
  const short = (value: unknown): string =>
    typeof value === 'string' && value.length <= LIMITS.maxIdBytes ? value : '';
  return { id: short(parsed.id), replyTo: short(parsed.replyTo), corrId: short(parsed.corrId) };
}
