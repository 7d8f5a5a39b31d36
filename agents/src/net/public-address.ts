// Public IP addresses. Addresses of this machine, its network and cloud services are not public. For IPv6, only the one public
// block is allowed: a list of private ranges could be incomplete.
import { BlockList, isIP } from 'node:net';

// IANA's special-purpose registry, and 168.63.129.16: an Azure host service behind a public address.
const NOT_PUBLIC_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];
const PUBLIC_V6 = '2000::/3';
// Inside that block: protocol assignments with Teredo, documentation, 6to4 and documentation again.
const NOT_PUBLIC_V6 = ['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20'];

/** Parses addresses and ranges such as `127.0.0.2` and `10.0.0.0/8` into a set. @throws TypeError for other texts */
export function addressSet(ranges: readonly string[]): BlockList {
  const set = new BlockList();
  for (const range of ranges) {
    const [network = '', bits] = range.split('/');
    const family = isIP(network);
    if (family === 0)
      throw new TypeError(`"${range}" is not an IP address or range; expected one such as 10.1.2.0/24`);
    const type = family === 4 ? 'ipv4' : 'ipv6';
    if (bits === undefined) set.addAddress(network, type);
    else set.addSubnet(network, Number(bits), type);
  }
  return set;
}

const notPublicV4 = addressSet(NOT_PUBLIC_V4);
const publicV6 = addressSet([PUBLIC_V6]);
const notPublicV6 = addressSet(NOT_PUBLIC_V6);

/** True if `address` is an IP address of the public internet. An IPv4 address mapped to IPv6 never is. */
export function isPublicAddress(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !notPublicV4.check(address, 'ipv4');
    case 6:
      return !address.includes('%') && publicV6.check(address, 'ipv6') && !notPublicV6.check(address, 'ipv6');
    default:
      return false;
  }
}
