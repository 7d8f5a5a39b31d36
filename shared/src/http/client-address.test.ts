import { describe, expect, test } from 'vitest';
import { ClientAddresses, ConnectionSlots, isLoopbackAddress, isNetwork } from './client-address.ts';

const PROXIES = ['10.0.0.0/8', '127.0.0.1', 'fd00::/8'];

describe('the address of a client', () => {
  test.each<[name: string, remote: string | undefined, forwarded: string | undefined, client: string]>([
    ['a direct connection', '192.0.2.1', undefined, '192.0.2.1'],
    ['a header from an untrusted address', '192.0.2.1', '198.51.100.7', '192.0.2.1'],
    ['a trusted proxy', '10.1.2.3', '198.51.100.7', '198.51.100.7'],
    ['a trusted proxy in its IPv6 form', '::ffff:10.1.2.3', '198.51.100.7', '198.51.100.7'],
    ['a chain of trusted proxies', '127.0.0.1', '198.51.100.7, 10.9.9.9', '198.51.100.7'],
    ['an address that the client wrote itself', '10.1.2.3', '203.0.113.9, 198.51.100.7', '198.51.100.7'],
    ['a forged trusted address', '10.1.2.3', '203.0.113.9, 10.0.0.1, 198.51.100.7', '198.51.100.7'],
    ['no header behind a proxy', '10.1.2.3', undefined, '10.1.2.3'],
    ['trusted addresses alone', '10.1.2.3', '10.0.0.5, 10.0.0.6', '10.0.0.5'],
    ['text that is no address', '10.1.2.3', '198.51.100.7, unknown', '10.1.2.3'],
    ['text left of the client', '10.1.2.3', '"><script>, 198.51.100.7', '198.51.100.7'],
    ['an address with a port', '10.1.2.3', '198.51.100.7:4711', '198.51.100.7'],
    ['IPv6 with a port', 'fd00::1', '[2001:db8::7]:4711', '2001:db8::7'],
    ['IPv6', 'fd00::1', '2001:db8::7', '2001:db8::7'],
    ['a closed socket', undefined, '198.51.100.7', 'unknown'],
  ])('%s', (_name, remoteAddress, forwarded, client) => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    expect(new ClientAddresses(PROXIES).of({ headers, socket: { remoteAddress } })).toBe(client);
  });

  test('without trusted proxies the header is ignored', () => {
    const clients = new ClientAddresses([]);
    const request = {
      headers: { 'x-forwarded-for': '198.51.100.7' },
      socket: { remoteAddress: '127.0.0.1' },
    };
    expect(clients.of(request)).toBe('127.0.0.1');
    expect(clients.isForwarded(request)).toBe(false);
  });
});

test('networks are addresses, with or without a number of bits', () => {
  const valid = ['10.0.0.0/8', '127.0.0.1', '::1', 'fd00::/8', '0.0.0.0/0', '::/128'];
  const invalid = [
    '',
    '10.0.0.0/33',
    '10.0.0/8',
    'proxy',
    '::/129',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    '10.0.0.0/-1',
  ];
  expect(valid.filter((text) => !isNetwork(text))).toEqual([]);
  expect(invalid.filter(isNetwork)).toEqual([]);
});

test('loopback addresses', () => {
  expect(['127.0.0.1', '127.8.8.8', '::1'].every(isLoopbackAddress)).toBe(true);
  expect(['10.0.0.1', '::2', '1127.0.0.1', 'unknown'].some(isLoopbackAddress)).toBe(false);
});

describe('slots of connections', () => {
  test('are bounded for each address, and free once', () => {
    const slots = new ConnectionSlots(2);
    const [first, second] = [slots.take('192.0.2.1'), slots.take('192.0.2.1')];
    expect(slots.take('192.0.2.1')).toBeUndefined();
    expect(slots.take('192.0.2.2')).toBeDefined();
    first!();
    first!();
    expect(slots.take('192.0.2.1')).toBeDefined();
    expect(slots.take('192.0.2.1')).toBeUndefined();
    second!();
    expect(slots.size).toBe(2);
  });

  test('are shared by the 64-bit network of an IPv6 client', () => {
    const slots = new ConnectionSlots(1);
    const releases = ['2001:db8:0:1::1', '2001:db8:0:2::1', '2001:db8::1', '::1'].map((a) => slots.take(a));
    expect(releases.every((release) => release !== undefined)).toBe(true);
    for (const same of ['2001:db8:0:1:ffff::2', '2001:0db8:0000:0001::3', '2001:db8:0:0:1::', '::2'])
      expect(slots.take(same)).toBeUndefined();
    for (const release of releases) release!();
    expect(slots.size).toBe(0);
  });
});
