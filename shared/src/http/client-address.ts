// Addresses of clients. Behind a trusted proxy, the client is the last address in X-Forwarded-For that is not a trusted proxy:
// the client itself may have written the addresses before it. From any other connection the header is ignored.
import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** Connections of one client address that have not attached. */
export const DEFAULT_CONNECTIONS_PER_ADDRESS = 200;

const IPV4_MAPPED = /^::ffff:(?=\d+\.)/i;
/** An entry of X-Forwarded-For: an address, which some proxies write with its port. */
const ENTRY = /^(?:\[([\da-f:.]+)\](?::\d+)?|(\d+(?:\.\d+){3})(?::\d+)?|([\da-f:.]+))$/i;

/** The part of a request that states where it is from. */
export interface ClientRequest {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/** Removes the IPv6 form of an IPv4 address, and the zone. */
const plain = (address: string): string => address.replace(IPV4_MAPPED, '').replace(/%.*$/, '');

/** True for an address, or a network such as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
}

export class ClientAddresses {
  readonly #trusted = new BlockList();
  readonly hasProxies: boolean;

  /** @param trustedProxies networks, as `isNetwork` accepts them */
  constructor(trustedProxies: readonly string[]) {
    this.hasProxies = trustedProxies.length > 0;
    for (const network of trustedProxies) {
      const [address = '', bits] = network.split('/');
      const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
      if (bits === undefined) this.#trusted.addAddress(address, family);
      else this.#trusted.addSubnet(address, Number(bits), family);
    }
  }

  isTrusted(address: string): boolean {
    const version = isIP(address);
    return version !== 0 && this.#trusted.check(address, version === 4 ? 'ipv4' : 'ipv6');
  }

  /** True if a trusted proxy sent the request. */
  isForwarded({ socket }: ClientRequest): boolean {
    return this.hasProxies && this.isTrusted(plain(socket.remoteAddress ?? ''));
  }

  /** Returns the address that a request is from. */
  of({ headers, socket }: ClientRequest): string {
    let client = plain(socket.remoteAddress ?? 'unknown');
    if (!this.hasProxies || !this.isTrusted(client)) return client;
    const forwarded = headers['x-forwarded-for'] ?? '';
    const entries = (Array.isArray(forwarded) ? forwarded.join(',') : forwarded).split(',');
    for (const entry of entries.reverse()) {
      const [, v6, v4, bare] = ENTRY.exec(entry.trim()) ?? [];
      const address = plain(v6 ?? v4 ?? bare ?? '');
      // An entry that is no address was not written by a proxy that may be trusted.
      if (isIP(address) === 0) return client;
      client = address;
      if (!this.isTrusted(client)) return client;
    }
    return client;
  }
}

const LOOPBACK = /^(?:127\.|::1$)/;

export const isLoopbackAddress = (address: string): boolean => LOOPBACK.test(address);

/** The network that one client controls: an IPv4 address, or the first 64 bits of an IPv6 address. */
export function clientNetwork(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? 0 : tail.split(':').length + (tail.includes('.') ? 1 : 0);
    while (groups.length + after < 8) groups.push('0');
  }
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

/** Counts the connections of each client that have not attached. */
export class ConnectionSlots {
  readonly #max: number;
  readonly #taken = new Map<string, number>();

  constructor(max: number) {
    this.#max = max;
  }

  /** Number of clients with a connection. */
  get size(): number {
    return this.#taken.size;
  }

  /** Takes a slot. Returns the function that releases it, which may be called again, or undefined if the client has no slot left. */
  take(address: string): (() => void) | undefined {
    const client = clientNetwork(address);
    const taken = this.#taken.get(client) ?? 0;
    if (taken >= this.#max) return undefined;
    this.#taken.set(client, taken + 1);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      const left = this.#taken.get(client)! - 1;
      if (left === 0) this.#taken.delete(client);
      else this.#taken.set(client, left);
    };
  }
}
