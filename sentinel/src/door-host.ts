// The sentinel's interface for its doors. The link of a door is an ordinary session: access control, quotas and the policy apply to it.
// Loaded with the first request to a door, because it imports the link.
import type { Clock, Dial, Logger } from '@fame-fabric/shared';
import {
  agentAddressOf,
  type DoorGrant,
  type DoorHost,
  FabricError,
  type RequestOriginOptions,
  type ServedAddress,
} from '@fame-fabric/shared/router';
import { type Access, ANONYMOUS_CALLER, type Granted } from './access/access.ts';
import type { Bindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { ClusterView } from './cluster/status.ts';
import type { Admission } from './door/admission.ts';
import { JobSlices } from './job-slices.ts';
import { MemoryNodes } from './memory-node.ts';
import type { SessionTable } from './session/session-table.ts';

/** Header with an API key, which some clients send in place of Authorization. */
const KEY_HEADER = 'x-api-key';
/** Prefix of every key of Fame Fabric. */
const KEY_PREFIX = 'fk_';

export interface DoorHostDeps {
  access: Access;
  admission: Admission;
  bindings: Bindings;
  /** @default this sentinel is in no cluster */
  cluster?: Pick<ClusterView, 'addresses'> | undefined;
  table: SessionTable;
  clock: Clock;
  log: Logger;
}

export interface SentinelDoorHost extends DoorHost {
  /** Closes the connections of all door links. */
  close(): void;
}

export function makeDoorHost(
  deps: DoorHostDeps,
  options: { origins: RequestOriginOptions; isSigned: boolean },
): SentinelDoorHost {
  const { access, admission, bindings, clock, cluster, log, table } = deps;
  const nodes = new MemoryNodes({ admission, remote: 'door', schedule: new JobSlices().run });

  // In open mode, clients send a placeholder because their libraries require a key, so unknown credentials are ignored. A key of ours is
  // never a placeholder.
  const authenticate: DoorHost['authenticate'] = async ({ method, headers, socket }) => {
    const apiKey = headers[KEY_HEADER];
    const authorization =
      headers.authorization ?? (typeof apiKey === 'string' && apiKey !== '' ? `Bearer ${apiKey}` : undefined);
    // Doors take no credential from a subprotocol.
    const { 'sec-websocket-protocol': _, ...others } = headers;
    const result = await access.authenticate({ method, headers: { ...others, authorization }, socket });
    if (result.ok) return result;
    const isOurKey = authorization?.replace(/^bearer +/i, '').startsWith(KEY_PREFIX) ?? false;
    if (access.isCredentialNeeded || isOurKey) throw result.fault;
    return ANONYMOUS_CALLER;
  };

  const hasEnded = (grant: DoorGrant): boolean => access.hasEnded(grant as Granted, clock.now());

  const dial = (grant: DoorGrant): Dial =>
    nodes.dial(() => {
      if (hasEnded(grant)) {
        throw new FabricError('AUTH_EXPIRED', 'The credential has expired or was revoked');
      }
      const authentication = grant as Granted;
      const excess = admission.attachFault(authentication);
      if (excess === undefined) return authentication;
      const { reason, retryAfterMs } = excess;
      throw new FabricError('LINK_REFUSED', reason, { details: { code: 'QUOTA_EXCEEDED', retryAfterMs } });
    });

  return {
    authenticate,
    hasEnded,
    dial,
    async addresses() {
      // Own addresses last: of equal addresses, the last one counts.
      const served: ServedAddress[] = cluster === undefined ? [] : [...(await cluster.addresses())];
      for (const session of table.all()) {
        for (const address of bindings.addressesOf(session) ?? []) {
          const agent = agentAddressOf(address);
          if (agent !== undefined) served.push({ address: agent, attach: session.terms.epoch });
        }
      }
      return served;
    },
    origins: options.origins,
    isSigned: options.isSigned,
    clock,
    log,
    close: () => nodes.closeAll(CLOSE.goingAway, 'the sentinel is shutting down'),
  };
}
