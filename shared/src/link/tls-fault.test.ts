import { expect, test } from 'vitest';
import { mayNeedTls, tlsFault } from './tls-fault.ts';

const failed = (code: string): Error =>
  new TypeError('fetch failed', { cause: Object.assign(new Error('no'), { code }) });

test('O5: a certificate that is not accepted is named, with the variable that accepts its issuer', () => {
  expect(tlsFault(failed('DEPTH_ZERO_SELF_SIGNED_CERT'))).toMatch(
    /certificate.*self-signed.*NODE_EXTRA_CA_CERTS/,
  );
  expect(tlsFault(failed('UNABLE_TO_VERIFY_LEAF_SIGNATURE'))).toMatch(
    /issuer is unknown.*NODE_EXTRA_CA_CERTS/,
  );
  const expired = tlsFault(failed('CERT_HAS_EXPIRED'));
  expect(expired).toContain('it has expired (CERT_HAS_EXPIRED)');
  expect(expired).not.toContain('NODE_EXTRA_CA_CERTS');
});

test('a certificate for another host name comes with its fix', () => {
  expect(tlsFault(failed('ERR_TLS_CERT_ALTNAME_INVALID'))).toMatch(/another host name.*in the URL$/);
});

test('a connection without TLS that ends without an answer may need TLS', () => {
  expect(mayNeedTls('ws://localhost:1/', failed('ECONNRESET'))).toBe(true);
  expect(mayNeedTls('ws://localhost:1/', failed('ECONNREFUSED'))).toBe(false);
  expect(mayNeedTls('wss://localhost:1/', failed('ECONNRESET'))).toBe(false);
});

test('other errors are not TLS faults', () => {
  expect(tlsFault(failed('ECONNREFUSED'))).toBeUndefined();
  expect(tlsFault('ECONNREFUSED')).toBeUndefined();
  expect(tlsFault(undefined)).toBeUndefined();
});
