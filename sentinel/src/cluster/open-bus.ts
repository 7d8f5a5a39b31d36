// Opens the bus of a cluster: the client of NATS is loaded here, and only here.
import type { Clock, Logger } from '@fame-fabric/shared';
import { configInvalid, errorMessage } from '@fame-fabric/shared/internal';
import { readBoundedFile } from '@fame-fabric/shared/router';
import { Cluster, type ClusterDeps } from './cluster.ts';
import { KvOwners } from './kv-owners.ts';
import { NatsBus } from './nats-bus.ts';
import type { ClusterSettings } from './settings.ts';

/** Longest credentials file, in bytes. */
const MAX_CREDENTIALS_BYTES = 65_536;

export interface BusDeps {
  clock: Clock;
  log: Logger;
}

export interface OpenBus {
  /** Makes this sentinel a member of the cluster. */
  readonly join: (deps: ClusterDeps) => Cluster;
  /** Resolves once the bus is connected, or after `timeoutMs`. */
  readonly whenConnected: (timeoutMs: number) => Promise<void>;
}

/** Connects to NATS in the background. @throws {CONFIG_INVALID} if the credentials file cannot be read */
export function openBus(
  { name, natsUrls, credentialsFile }: ClusterSettings,
  { clock, log }: BusDeps,
  { id, ...times }: { readonly id: string; readonly resumeWindowMs: number; readonly addressHoldMs: number },
): OpenBus {
  const credentials = credentialsFile === undefined ? undefined : readCredentials(credentialsFile);
  const bus = new NatsBus({ clock, log }, { urls: natsUrls, credentials, name: `fame sentinel ${id}` });
  return {
    join: (deps) =>
      new Cluster(bus, deps, { name, ...times, owners: new KvOwners(bus, { cluster: name, id }) }),
    async whenConnected(timeoutMs) {
      if (await bus.whenConnected(timeoutMs)) return;
      log.warn('cannot connect to NATS yet; only nodes of this sentinel can be reached', {
        cluster: name,
        reason: bus.reason,
      });
    },
  };
}

function readCredentials(file: string): Uint8Array {
  try {
    return Buffer.from(readBoundedFile(file, MAX_CREDENTIALS_BYTES));
  } catch (error) {
    throw configInvalid([`FAME_CLUSTER_NATS_CREDS_FILE: ${errorMessage(error)}`]);
  }
}
