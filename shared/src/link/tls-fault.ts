// TLS faults that no retry repairs: a certificate that is not trusted, or a server that does not speak TLS.

/** Codes of OpenSSL and Node, with the cause in words. */
const CAUSES: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'a certificate of its chain is self-signed',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its issuer is unknown',
  UNABLE_TO_GET_ISSUER_CERT: 'its issuer is unknown',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its issuer is unknown',
  CERT_UNTRUSTED: 'its issuer is not trusted',
  CERT_HAS_EXPIRED: 'it has expired',
  CERT_NOT_YET_VALID: 'it is not valid yet',
  CERT_REVOKED: 'it was revoked',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it was issued for another host name',
};

/** Returns the TLS fault that caused `error`, with its fix, as a sentence without a full stop; undefined for any other error. */
export function tlsFault(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    // A DOMException has a numeric code.
    const code = String((cause as NodeJS.ErrnoException).code ?? '');
    const why = CAUSES[code];
    if (why !== undefined) {
      const fix =
        why.startsWith('its issuer') || why.includes('self-signed')
          ? '. If you trust it, set NODE_EXTRA_CA_CERTS to a PEM file with the certificate of its issuer'
          : code === 'ERR_TLS_CERT_ALTNAME_INVALID'
            ? '. Use a name of the certificate in the URL'
            : '';
      return `The certificate of the server is not accepted: ${why} (${code})${fix}`;
    }
    if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
      return `The server does not speak TLS as expected (${code}). For a port without TLS, the URL begins with ws:// or http://`;
    }
  }
  return undefined;
}

/** True if `error` is typical of a plain connection to a TLS port: the connection ended without an answer. */
export function mayNeedTls(url: string, error: unknown): boolean {
  if (!url.startsWith('ws:')) return false;
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ECONNRESET') return true;
  }
  return false;
}
