// Opens the sources of credentials that the options of a sentinel name, and decides whether it asks for credentials. This does not
// change while it runs (decision 36).
import type { Clock, Logger } from '@fame-fabric/shared';
import type { TlsFiles } from '../door/tls.ts';
import { Access, type CredentialSource } from './access.ts';
import { ClientAuthorities } from './client-authorities.ts';
import { defaultKeysFile } from './keys-file.ts';
import { openLocalKey } from './local-key.ts';
import { NamedKeys } from './named-keys.ts';
import { needsCredential, type SecurityProfile } from './needs-credential.ts';
import type { RevokedKeys } from './revoked-keys.ts';
import { SessionCookies } from './session-cookies.ts';
import { openSessionKey } from './session-key.ts';
import type { TokenRules } from './tokens/token-rules.ts';

export interface OpenAccessOptions {
  readonly dataDir?: string | undefined;
  readonly keysFile?: string | undefined;
  readonly isCredentialNeeded?: boolean | undefined;
  readonly securityProfile?: SecurityProfile | undefined;
  readonly tokenRules?: TokenRules | undefined;
  readonly tls?: TlsFiles | undefined;
}

export interface OpenAccessDeps {
  clock: Clock;
  log: Logger;
  /** Path of the sentinel, which is known after the start. */
  path: () => string;
  /** Keys that the cluster refuses. @default this sentinel is in no cluster */
  revokedKeys?: RevokedKeys | undefined;
}

/** @throws {CONFIG_INVALID} if the local key or the keys file has a fault. @throws the system's error */
export async function openAccess(options: OpenAccessOptions, deps: OpenAccessDeps): Promise<Access> {
  const { dataDir, tokenRules } = options;
  const { clock, log, revokedKeys } = deps;
  const localKey = dataDir === undefined ? undefined : openLocalKey(dataDir, log);
  const file = options.keysFile ?? (dataDir === undefined ? undefined : defaultKeysFile(dataDir));
  const namedKeys = file === undefined ? undefined : new NamedKeys(file, clock, log, revokedKeys);
  const hasKeys = namedKeys?.isEmpty === false;
  const hasClientCa = options.tls?.clientCaFile !== undefined;
  return new Access({
    clock,
    cookies: new SessionCookies(() => openSessionKey(dataDir, log), clock, {
      isEncrypted: options.tls !== undefined,
    }),
    authorities: hasClientCa ? new ClientAuthorities() : undefined,
    // The local key has the prefix of the named keys, too, so it comes first.
    sources: [localKey, namedKeys, await openTokens(tokenRules, deps)].filter((one) => one !== undefined),
    isCredentialNeeded:
      options.isCredentialNeeded ??
      needsCredential({
        profile: options.securityProfile,
        hasKeys,
        hasTokens: tokenRules !== undefined,
        hasClientCa,
      }),
  });
}

// Loads the library for tokens only if tokens are accepted.
async function openTokens(
  rules: TokenRules | undefined,
  deps: OpenAccessDeps,
): Promise<CredentialSource | undefined> {
  if (rules === undefined) return undefined;
  const { TokenCredentials } = await import('./tokens/token-source.ts');
  return new TokenCredentials(rules, deps);
}
