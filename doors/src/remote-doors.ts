// Doors in a separate process, for any Fame sentinel.
import { type Clock, FabricError, type Logger, systemClock } from '@fame-fabric/shared';
import { type NodeSecurityProfile, wsDial } from '@fame-fabric/shared/node';
import { isLoopback, type ServedAddress } from '@fame-fabric/shared/router';
import { type DoorProcessSettings, doorOfPath, doorsText } from './config.ts';
import { DEFAULT_DOOR_OPTIONS, RunningDoors } from './doors.ts';
import { LinkFabric } from './fabric/link-fabric.ts';
import { RemoteAddresses } from './fabric/remote-addresses.ts';
import { RemoteSource } from './fabric/remote-source.ts';
import { DoorPort } from './port.ts';

export interface RemoteDoorsOptions {
  /** Admission URL of the sentinel. */
  readonly url: string;
  readonly settings: DoorProcessSettings;
  /** Requests the list of nodes with the key of this process. @throws {AUTH_*} if the key may not read it */
  readonly listAddresses: () => Promise<Iterable<ServedAddress>>;
  readonly securityProfile?: NodeSecurityProfile | undefined;
  /** Time limit for the first attach, in ms. */
  readonly connectTimeoutMs: number;
  readonly log: Logger;
  readonly clock?: Clock | undefined;
}

export interface RemoteDoors {
  readonly port: number;
  /** URL of the doors, without a slash at its end. */
  readonly url: string;
  /** True if the sentinel asks for credentials. */
  readonly isCredentialNeeded: boolean;
  /** Refuses new requests, lets open responses finish for up to `drainMs`, then closes everything. */
  drain(): Promise<void>;
}

/**
 * Opens the port once the sentinel has answered.
 * @throws {LINK_TIMEOUT | LINK_REFUSED} if the sentinel cannot be reached
 * @throws {CONFIG_INVALID} if the port is in use, or other machines would reach a fabric that admits every node
 */
export async function startRemoteDoors(options: RemoteDoorsOptions): Promise<RemoteDoors> {
  const {
    url,
    settings,
    listAddresses,
    securityProfile,
    connectTimeoutMs,
    log,
    clock = systemClock,
  } = options;
  const { names, host, allowedOrigins, allowedHosts, chatAddress, publicUrl, drainMs } = settings;
  const configured = [...new Set([chatAddress, ...settings.addresses])];
  const addresses = new RemoteAddresses({ list: listAddresses, configured, clock, log });
  const source = new RemoteSource({
    url,
    dial: wsDial,
    addresses: addresses.read,
    securityProfile,
    clock,
    log,
  });
  const { isCredentialNeeded } = await source.probe(connectTimeoutMs);
  const isOpen = !isLoopback(host);
  if (isOpen && !isCredentialNeeded && !settings.mayBeOpen) {
    throw new FabricError(
      'CONFIG_INVALID',
      `FAME_DOORS_HOST is "${host}", and the sentinel admits every node, so every machine that reaches this one could call its agents. Add a key to the sentinel (npx fame-fabric key add NAME), or, if every caller may, set FAME_OPEN_ON_ALL_INTERFACES=true`,
    );
  }
  const fabric = new LinkFabric({ source, clock, log }, DEFAULT_DOOR_OPTIONS);
  const origins = { allowedOrigins, allowedHosts, isOpen, isCredentialNeeded };
  const doors = new RunningDoors({ fabric, origins, clock, log }, names, { chatAddress, publicUrl });
  const claims = (path: string): boolean => doorOfPath(path, names) !== undefined;
  const port = new DoorPort({ doors, claims, served: doorsText(names), clock, log }, settings);
  const number = await port.start();
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return {
    port: number,
    url: `http://${shownHost}:${number}`,
    isCredentialNeeded,
    drain: () => port.drain(drainMs),
  };
}
