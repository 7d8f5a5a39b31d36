// An in-memory sentinel for tests of the doors: requests with keys `fk_NAME`, and agents on links without sockets.
import type { Clock, Dial, Logger, Principal, Role } from '@fame-fabric/shared';
import { FabricError, newId, silentLog, systemClock } from '@fame-fabric/shared/router';
import { Access, type Authentication, type CredentialSource, UNKNOWN_KEY } from '../access/access.ts';
import { CLOSE } from '../close-codes.ts';
import { readSentinelConfig } from '../config.ts';
import { makeDoorHost, type SentinelDoorHost } from '../door-host.ts';
import { MemoryNodes } from '../memory-node.ts';
import { makeParts } from '../parts.ts';

export interface MemoryDoorHostOptions {
  /** Refuses requests without a credential. @default false */
  readonly isCredentialNeeded?: boolean | undefined;
  /** The holders of keys: `Authorization: Bearer fk_NAME`. @default ada and bea, with the role client */
  readonly principals?: readonly {
    readonly id: string;
    readonly roles?: readonly Role[];
    readonly allow?: readonly string[];
  }[];
  readonly allowedOrigins?: readonly string[] | undefined;
  readonly clock?: Clock | undefined;
  readonly log?: Logger | undefined;
}

export interface MemoryDoorHost {
  readonly host: SentinelDoorHost;
  /** Dial function of agents. They attach as `local`. */
  readonly dial: Dial;
  /** Dial function of nodes that attach with a token, as over a WebSocket. */
  readonly tokenDial: Dial;
  /** Ends the key `fk_NAME`, as its removal from the keys file does: its sessions end with the next sweep, every 2 s. */
  revoke(id: string): void;
  close(): void;
}

class TestKeys implements CredentialSource {
  readonly label = 'a test key';
  readonly #principals = new Map<string, Principal>();
  readonly #revoked = new Set<Principal>();
  #isRevoked = (_principal: Principal): boolean => false;

  constructor(principals: readonly Principal[]) {
    for (const principal of principals) this.#principals.set(`fk_${principal.id}`, principal);
  }

  accepts(token: string): boolean {
    return token.startsWith('fk_');
  }

  authenticate(token: string): Authentication {
    const principal = this.#principals.get(token);
    return principal === undefined ? UNKNOWN_KEY : { ok: true, principal };
  }

  revoke(id: string): void {
    const principal = this.#principals.get(`fk_${id}`);
    if (principal === undefined) throw new FabricError('AUTH_INVALID', `There is no key fk_${id}`);
    this.#principals.delete(`fk_${id}`);
    this.#revoked.add(principal);
    this.#isRevoked = (other) => this.#revoked.has(other);
  }

  revocations(): (principal: Principal) => boolean {
    return this.#isRevoked;
  }
}

export function startMemoryDoorHost({
  isCredentialNeeded = false,
  principals = [{ id: 'ada' }, { id: 'bea' }],
  allowedOrigins = [],
  clock = systemClock,
  log = silentLog,
}: MemoryDoorHostOptions = {}): MemoryDoorHost {
  const keys = new TestKeys(
    principals.map(({ id, roles = ['client'], allow }) => ({
      id,
      roles,
      rights: { conversations: id === 'local' ? 'any' : 'own' } as const,
      ...(allow ? { allow } : {}),
    })),
  );
  const access = new Access({ sources: [keys], isCredentialNeeded, clock });
  const options = { ...readSentinelConfig({}), id: newId() };
  const parts = makeParts({ access, clock, log }, options);
  const origins = {
    allowedOrigins,
    allowedHosts: [],
    isOpen: false,
    isCredentialNeeded,
  };
  const host = makeDoorHost({ ...parts, access, clock }, { origins, isSigned: false });
  const agents = new MemoryNodes({ admission: parts.admission, remote: 'memory' });
  const principal: Principal = { id: 'local', roles: ['admin'], rights: { conversations: 'any' } };
  parts.sweeper.start();
  return {
    host,
    dial: agents.dial(() => ({ ok: true, principal })),
    tokenDial: agents.dial((token) =>
      access.authenticate({ headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }),
    ),
    revoke: (id) => keys.revoke(id),
    close() {
      parts.admission.stop();
      parts.sweeper.stop();
      host.close();
      agents.closeAll(CLOSE.goingAway, 'the fabric is closed');
      parts.sessions.stop();
      parts.log.flush();
    },
  };
}
