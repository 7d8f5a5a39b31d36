// Signed envelopes at the sentinel, the security profile `overlay`. Messages pass through `Overlay.receive` before the router:
// the signature is verified with the keys of the node that sent it. The sentinel answers KeyRequest, and signs its own frames. A
// sentinel without the profile loads none of this.
import type {
  Clock,
  Envelope,
  EnvelopeHeader,
  ErrorCode,
  Frame,
  KeyAnnounce,
  KeyRequest,
  NodeAttach,
} from '@fame-fabric/shared';
import {
  Credit,
  decode,
  FabricError,
  Header,
  isUnder,
  locationOf,
  makeEnvelope,
  newId,
  REPLY_PREFIX,
  readCredit,
  readHeader,
  SYSTEM_PARTICIPANT,
} from '@fame-fabric/shared/router';
import {
  announcedJwk,
  frameDigest,
  isSignedBy,
  isSignedType,
  type Jwk,
  readJwks,
  readSignature,
  readSignedData,
  type SignedHeader,
  signEnvelope,
} from '@fame-fabric/shared/signature';
import type { Guard } from '../access/guard.ts';
import { routeTo } from '../access/permissions.ts';
import type { Bindings } from '../bindings.ts';
import type { Identity } from '../identity.ts';
import { answer, requestTo } from '../replies.ts';
import type { Router } from '../route.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import { KeyRequests } from './key-requests.ts';
import { KeyTable, type NodeKey } from './key-table.ts';
import { openSentinelKeys, type SentinelKeys } from './sentinel-keys.ts';

export interface OverlayOptions {
  readonly dataDir?: string | undefined;
  /** Id of the sentinel. */
  readonly id: string;
  /** True if the signatures of Data are verified here too, and not only by their receivers. @default true */
  readonly verifiesData?: boolean | undefined;
}

export interface OverlayDeps {
  guard: Guard;
  identity: Identity;
  clock: Clock;
  table: SessionTable;
  bindings: Bindings;
  router: Router;
}

/** The signing keys of a sentinel, opened before its other components. */
export interface Signatures {
  readonly sign: (envelope: Envelope, path: string) => void;
  readonly makeOverlay: (deps: OverlayDeps) => Overlay;
}

/** Opens the keys of the sentinel. @throws {CONFIG_INVALID} */
export function openSignatures(options: OverlayOptions): Signatures {
  const keys = openSentinelKeys(options.dataDir, options.id);
  return {
    sign: (envelope, path) => signEnvelope(envelope, keys.signing, path),
    makeOverlay: (deps) => new Overlay(deps, keys, options.verifiesData ?? true),
  };
}

/** Frames that nodes exchange end to end: their receivers verify the signatures that this sentinel cannot. */
const END_TO_END = new Set<string>(['Data', 'DeliveryAck', 'SecureOpen', 'SecureAccept', 'SecureClose']);
const HEARTBEAT = 'NodeHeartbeat';

export class Overlay {
  readonly #deps: OverlayDeps;
  readonly #keys: SentinelKeys;
  readonly #verifiesData: boolean;
  readonly #table: KeyTable;
  readonly #requests: KeyRequests;
  readonly #header = new Header();
  readonly #credit = new Credit();

  constructor(deps: OverlayDeps, keys: SentinelKeys, verifiesData: boolean) {
    this.#deps = deps;
    this.#keys = keys;
    this.#verifiesData = verifiesData;
    this.#table = new KeyTable(deps.clock);
    this.#requests = new KeyRequests(deps.clock);
  }

  /** The public keys of this sentinel, for NodeAttachAck and for its own NodeAttach. */
  get jwks(): readonly Jwk[] {
    return this.#keys.jwks;
  }

  /** Sizes of the tables, for diagnostics. */
  get counts(): { keys: number; requests: number } {
    return { keys: this.#table.size, requests: this.#requests.size };
  }

  /**
   * Reads the keys of a node that attaches. `path` is that of its session, if it has one.
   * @throws {ADMIT_REFUSED} without a key for signatures, or if its id is that of another node's key
   */
  readKeys(keys: NodeAttach['keys'], path: string | undefined): readonly Jwk[] {
    const jwks = readJwks(keys);
    const signing = jwks.find(({ use }) => use === 'sig');
    if (signing === undefined) {
      throw new FabricError(
        'ADMIT_REFUSED',
        'Envelopes must be signed here, and the other side has no Ed25519 key. Set FAME_SECURITY_PROFILE=overlay for both.',
      );
    }
    if (this.#table.isTaken(signing.kid, path ?? '')) {
      throw new FabricError('ADMIT_REFUSED', `The key id ${signing.kid} is that of another node`);
    }
    return jwks;
  }

  /** Takes the keys of a node that has attached, and announces those of nodes to the parent and the peers. */
  attached(session: Session, jwks: readonly Jwk[]): void {
    this.#table.setOwn(session, jwks);
    if (session.kind === 'node') this.#announce(session.path, jwks, session);
  }

  /** Announces all keys of nodes below this sentinel to a parent or peer that has just attached. */
  announceTo(neighbor: Session): void {
    for (const [path, jwks] of this.#table.byPath()) {
      if (isUnder(path, this.#deps.identity.path)) this.#sendAnnounce(neighbor, path, jwks);
    }
  }

  /** Forgets the keys of a session that has ended. */
  ended(session: Session): void {
    this.#table.remove(session);
  }

  /** Verifies one message of an attached node, and passes it to the router. Never throws. */
  receive(from: Session, bytes: Buffer): void {
    const { router } = this.#deps;
    if (from.state === 'gone') return;
    const header = this.#header;
    if (readHeader(bytes, header)) {
      if (this.#verifiesData) {
        const { header: signed, pd } = readSignedData(bytes, header.frameAt);
        const fault = this.#faultOf(from, 'Data', signed, pd);
        if (fault !== undefined) {
          this.#refuse(from, bytes, fault, undefined);
          return;
        }
      }
      router.receive(from, bytes);
      return;
    }
    // Only the exact form: JSON.parse takes the last of two equal keys, so any other message is decoded before it is exempt.
    if (header.frameAt > 0 && header.to === '' && readCredit(bytes, header.frameAt, this.#credit)) {
      router.receive(from, bytes);
      return;
    }
    let envelope: Envelope;
    try {
      envelope = decode(bytes);
    } catch {
      // The router refuses it.
      router.receive(from, bytes);
      return;
    }
    this.#receiveDecoded(from, envelope, bytes);
  }

  #receiveDecoded(from: Session, envelope: Envelope, bytes: Buffer): void {
    const { frame } = envelope;
    const { type } = frame;
    const isExempt = !isSignedType(type) || type === HEARTBEAT || (type === 'Data' && !this.#verifiesData);
    if (!isExempt) {
      const digest = type === 'Data' ? frame.pd : frameDigest(frame);
      const fault = this.#faultOf(from, type, envelope, digest);
      if (fault !== undefined) {
        this.#refuse(from, bytes, fault, envelope);
        return;
      }
    }
    if (type === 'KeyRequest' || type === 'KeyAnnounce') {
      from.markReceived();
      if (envelope.flowId !== undefined) from.outbound.countLinkLocal(envelope.flowId, bytes.length);
      // Above the rate of its principal. The receiver of a message asks for a key again.
      if (from.quota?.charge(bytes.length, from.terms.hasPairFlows) !== undefined) return;
      if (frame.type === 'KeyRequest') this.#onRequest(from, envelope, frame);
      else this.#onAnnounce(from, envelope, frame as KeyAnnounce);
      return;
    }
    this.#deps.router.receive(from, bytes);
  }

  // Why a message must be refused; `undefined` if its signature is that of its sender.
  #faultOf(
    from: Session,
    type: string,
    header: SignedHeader & Pick<EnvelopeHeader, 'sec'>,
    digest: string | undefined,
  ): ErrorCode | undefined {
    const signature = readSignature(header.sec);
    if (signature === undefined || typeof digest !== 'string') return 'SIGNATURE_MISSING';
    const key = this.#table.verifyKey(from, signature.kid);
    if (key === undefined) {
      // Nodes behind another sentinel: their receivers ask for the key.
      return from.kind !== 'node' && END_TO_END.has(type) ? undefined : 'SIGNATURE_INVALID';
    }
    const { replyTo } = header;
    const isOwn = !replyTo || isUnder(locationOf(replyTo), key.path);
    return isOwn && isSignedBy(key, signature, header, digest) ? undefined : 'SIGNATURE_INVALID';
  }

  // A request that waits for an ack gets a negative one, so that its sender does not wait for a timeout. Other messages get a NACK.
  #refuse(from: Session, bytes: Buffer, code: ErrorCode, envelope: Envelope | undefined): void {
    const reason =
      code === 'SIGNATURE_MISSING'
        ? 'The envelope is not signed, and this sentinel requires signatures'
        : 'The signature of the envelope is not that of the node that sent it';
    const ack = envelope && ackTypeOf(envelope.frame);
    if (ack !== undefined && from.kind !== 'peer') {
      const frame = { ...envelope!.frame, type: ack, ok: false, refId: envelope!.id, code, reason } as Frame;
      from.outbound.sendControl(answer(this.#deps.identity, envelope, frame));
    }
    this.#deps.router.refuse(from, bytes, code, reason, ack !== undefined);
  }

  #onRequest(from: Session, request: Envelope, { kid, address }: KeyRequest): void {
    if (request.corrId === undefined) return;
    if (kid !== undefined) this.#onKidRequest(from, request, kid);
    else if (address !== undefined) this.#onAddressRequest(from, request, address);
  }

  #onKidRequest(from: Session, request: Envelope, kid: string): void {
    const { identity, table } = this.#deps;
    const own = this.#keys.jwks.find((jwk) => jwk.kid === kid);
    const found: NodeKey | undefined = own ? { jwk: own, path: identity.path } : this.#table.find(kid);
    if (found !== undefined) {
      this.#answer(from, request, found.path, [found.jwk]);
      return;
    }
    const { parent } = table;
    if (parent !== undefined && parent !== from) this.#pass(from, request, parent, { kid });
  }

  // The node that serves the address answers: it alone knows the key that it encrypts with now.
  #onAddressRequest(from: Session, request: Envelope, address: string): void {
    const owner = this.#ownerOf(address, from);
    if (owner === undefined || owner === from) return;
    // A node that may not call an address learns nothing about it. A callee needs the key of the mailbox that it answers to.
    const isMailbox = address.startsWith(REPLY_PREFIX) || address.startsWith(`${SYSTEM_PARTICIPANT}@`);
    const { bindings, guard } = this.#deps;
    const mayCall = (one: string): boolean => (guard.permissions.routes(from, one) & routeTo(owner)) !== 0;
    const atPath = locationOf(address) === owner.path ? [...bindings.servedAtPath(address, owner)] : [];
    if (isMailbox || [address, ...atPath].every(mayCall)) this.#pass(from, request, owner, { address });
  }

  #ownerOf(address: string, from: Session): Session | undefined {
    const { bindings, identity, table } = this.#deps;
    const path = locationOf(address);
    if (!path.startsWith('/')) {
      const bound =
        bindings.owner(address) ?? (bindings.hasPools ? bindings.poolMember(address, from, '') : undefined);
      return bound ?? table.parent;
    }
    const exact = table.byPath(path);
    if (exact !== undefined) return exact;
    if (!isUnder(path, identity.path)) return table.peerOf(path) ?? table.parent;
    const next = path.indexOf('/', identity.path.length + 1);
    return next < 0 ? undefined : table.byPath(path.slice(0, next));
  }

  #pass(from: Session, { corrId, traceId }: Envelope, to: Session, wanted: Partial<KeyRequest>): void {
    const { identity } = this.#deps;
    const passedId = newId();
    this.#requests.add(passedId, { from, to, request: { corrId, traceId } });
    const frame: KeyRequest = { type: 'KeyRequest', ...wanted, physicalPath: identity.path };
    to.outbound.sendControl(requestTo(identity, frame, { corrId: passedId, traceId }));
  }

  #onAnnounce(from: Session, { corrId }: Envelope, { physicalPath, keys, address }: KeyAnnounce): void {
    if (physicalPath === undefined) return;
    const jwks = readJwks(keys);
    const passed = corrId === undefined ? undefined : this.#requests.take(corrId, from);
    if (passed !== undefined) {
      if (passed.from.state !== 'gone' && this.#mayName(from, physicalPath))
        this.#answer(passed.from, passed.request, physicalPath, jwks, address);
      return;
    }
    const isBelow = from.kind !== 'parent' && isUnder(physicalPath, from.path) && physicalPath !== from.path;
    if (corrId !== undefined || !isBelow) return;
    const added = this.#table.announce(from, physicalPath, jwks);
    if (from.kind === 'node' && added.length > 0) this.#announce(physicalPath, added, from);
  }

  // The sentinel signs the answer, so a node may name only keys of its own path and of paths below it. The paths of nodes behind a
  // parent or a peer are not known here; they are never those of nodes below this sentinel.
  #mayName({ kind, path }: Session, ofKey: string): boolean {
    return kind === 'node' ? isUnder(ofKey, path) : !isUnder(ofKey, this.#deps.identity.path);
  }

  #answer(
    to: Session,
    request: Partial<EnvelopeHeader>,
    path: string,
    jwks: readonly Jwk[],
    address?: string | undefined,
  ): void {
    to.outbound.sendControl(answer(this.#deps.identity, request, announceOf(path, jwks, address)));
  }

  #announce(path: string, jwks: readonly Jwk[], from: Session): void {
    const { parent, peers } = this.#deps.table;
    for (const neighbor of parent === undefined ? peers : [parent, ...peers]) {
      if (neighbor !== from) this.#sendAnnounce(neighbor, path, jwks);
    }
  }

  #sendAnnounce(neighbor: Session, path: string, jwks: readonly Jwk[]): void {
    neighbor.outbound.sendControl(requestTo(this.#deps.identity, announceOf(path, jwks), {}));
  }
}

const announceOf = (path: string, jwks: readonly Jwk[], address?: string | undefined): KeyAnnounce => ({
  type: 'KeyAnnounce',
  physicalPath: path,
  keys: jwks.map((jwk) => announcedJwk(jwk, path)),
  created: makeEnvelope({ type: HEARTBEAT }).ts,
  address,
});

const ACKED = new Set<string>(['AddressBind', 'AddressUnbind', 'CapabilityAdvertise', 'CapabilityWithdraw']);
const ackTypeOf = ({ type }: Frame): string | undefined => (ACKED.has(type) ? `${type}Ack` : undefined);
