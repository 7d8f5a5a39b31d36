// Ids and paths: the id, path and sid of this sentinel, the ids that it accepts, the paths that it assigns, and the path in
// an address.
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Envelope, Logger } from '@fame-fabric/shared';
import {
  locationOf,
  makeDirectory,
  newId,
  REPLY_PREFIX,
  SYSTEM_PARTICIPANT,
  sidOf,
} from '@fame-fabric/shared/router';

/** `name/version`, as attach acks state it. */
export const SOFTWARE = 'fame-fabric/0.2.0';

const NODE_ID = /^[A-Za-z0-9._-]{1,64}$/;
const STORED_ID = /^[A-Za-z0-9]{8,64}$/;
const SYSTEM_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** True if a sentinel may have this id. */
export const isNodeId = (id: string): boolean => NODE_ID.test(id);

/** True if a node may attach with this system id, which becomes a segment of its path. */
export const isSystemId = (id: string): boolean => SYSTEM_ID.test(id);

/** This sentinel. Its path, and with it its sid, changes when a parent assigns another one. */
export class Identity {
  /** A segment of every path below this sentinel. */
  readonly id: string;
  /** Flow of everything that the sentinel itself sends. */
  readonly flowId = newId();
  readonly software = SOFTWARE;
  /** Signs an envelope of the sentinel in place. Absent without the profile `overlay`. */
  readonly sign: ((envelope: Envelope) => void) | undefined;
  #path: string;
  #sid: string;

  constructor(id: string, sign?: (envelope: Envelope, path: string) => void) {
    this.id = id;
    this.sign = sign && ((envelope) => sign(envelope, this.#path));
    this.#path = `/${id}`;
    this.#sid = sidOf(this.#path);
  }

  /** Version of the software. */
  get version(): string {
    return this.software.replace(/^fame-fabric\//, '');
  }

  /** Physical path: `/S`, or `/P/S` below a parent. */
  get path(): string {
    return this.#path;
  }

  /** Hash of the path, which every envelope of the sentinel carries. */
  get sid(): string {
    return this.#sid;
  }

  /** Adopts the path that a parent assigned. Returns `false` if it is unchanged. */
  adoptPath(path: string): boolean {
    if (path === this.#path) return false;
    this.#path = path;
    this.#sid = sidOf(path);
    return true;
  }
}

/** A path for a new node: `root/systemId`, or for a twin, another running copy of the same script, `root/systemId-2`. */
export function assignPath(root: string, systemId: string, isTaken: (path: string) => boolean): string {
  let path = `${root}/${systemId}`;
  for (let copy = 2; isTaken(path); copy++) path = `${root}/${systemId}-${copy}`;
  return path;
}

/** Number of addresses whose destinations are cached. */
const MAX_CACHED = 4_096;

/** Destination of a message, as the router needs it. */
export interface Destination {
  /** The path of a physical address (`agent@/S/node`); empty for a logical one. */
  readonly path: string;
  /** Mailboxes need a grant: `reply` (`__rpc__x@/S/node`) for every message, `system` (`__sys__@/S/node`) for all but requests. */
  readonly mailbox: 'none' | 'reply' | 'system';
}

/** The destination of logical addresses, and of messages that are routed by capabilities. */
export const LOGICAL: Destination = Object.freeze({ path: '', mailbox: 'none' });

/** The destinations of addresses, cached while the addresses are in use. */
export class DestinationCache {
  readonly #destinations = new Map<string, Destination>();

  of(address: string): Destination {
    const known = this.#destinations.get(address);
    if (known !== undefined) return known;
    const destination = destinationOf(address);
    if (this.#destinations.size >= MAX_CACHED) this.#destinations.clear();
    this.#destinations.set(address, destination);
    return destination;
  }
}

function destinationOf(address: string): Destination {
  const path = locationOf(address);
  if (!path.startsWith('/')) return LOGICAL;
  if (address.startsWith(REPLY_PREFIX)) return { path, mailbox: 'reply' };
  return { path, mailbox: address.startsWith(`${SYSTEM_PARTICIPANT}@`) ? 'system' : 'none' };
}

/** The sids of paths, cached while the paths are in use. */
export class SidCache {
  readonly #sids = new Map<string, string>();

  readonly of = (path: string): string => {
    const known = this.#sids.get(path);
    if (known !== undefined) return known;
    const sid = sidOf(path);
    if (this.#sids.size >= MAX_CACHED) this.#sids.clear();
    this.#sids.set(path, sid);
    return sid;
  };
}

/**
 * Reads the id of the sentinel on this port from the data directory, or makes one and keeps it there. A restart keeps the
 * id, so that paths stay valid and nodes resume where they were.
 */
export function storedNodeId({ dataDir, port }: { dataDir: string; port: number }, log: Logger): string {
  const file = join(dataDir, `sentinel-${port}.id`);
  try {
    const id = readFileSync(file, 'utf8').trim();
    if (STORED_ID.test(id)) return id;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      log.warn('cannot read the stored node id', { file, error });
    }
  }
  const id = randomBytes(8).toString('hex');
  try {
    makeDirectory(dataDir);
    writeFileSync(file, `${id}\n`, { mode: 0o600 });
  } catch (error) {
    log.warn('cannot store the node id; a restart will change it', { file, error });
  }
  return id;
}
