// Binds a node's id to the subject of its token, as naylence does with FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY: the id must begin
// with a fingerprint of the subject and a hyphen.
import { createHash } from 'node:crypto';

const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';
const LENGTH = 8;
/** Base64 of letter sequences that naylence leaves out of ids; such a fingerprint is hashed again. */
const LEFT_OUT =
  'c2hpdA== ZnVj ZnVr ZGFtbg== Yml0Y2g= YmFzdGFy YXNzaG9s Y3JhcA== ZGljaw== cGlzcw== Ym9sbG9jaw== cHVzcw== YnVnZ2Vy Ymxvb2Q= ZmFnZw== Y3VudA== Y3Vt'
    .split(' ')
    .map((text) => Buffer.from(text, 'base64').toString());

/** The fingerprint of a token's subject: 8 letters and digits. */
export function subjectFingerprint(subject: string): string {
  let digest = sha256(subject);
  for (;;) {
    const text = base62(digest).slice(0, LENGTH);
    const lower = text.toLowerCase();
    if (!LEFT_OUT.some((part) => lower.includes(part))) return text;
    digest = sha256(digest);
  }
}

/** True if a node with this subject may have this id. */
export const isIdOfSubject = (systemId: string, subject: string): boolean =>
  systemId.startsWith(`${subjectFingerprint(subject)}-`);

const sha256 = (data: string | Buffer): Buffer => createHash('sha256').update(data).digest();

function base62(digest: Buffer): string {
  let rest = BigInt(`0x${digest.toString('hex')}`);
  let text = '';
  for (; rest > 0n; rest /= 62n) text = ALPHABET[Number(rest % 62n)] + text;
  return text.padStart(LENGTH, ALPHABET[0]);
}
