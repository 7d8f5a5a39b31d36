// The rule that decides whether a sentinel asks for credentials, from its configuration (decision 36).
export type SecurityProfile = 'gated' | 'open' | 'overlay';

/** True if a sentinel with this profile and these credentials refuses requests without a credential. */
export const needsCredential = ({
  profile,
  hasKeys,
  hasTokens,
  hasClientCa,
}: {
  readonly profile: SecurityProfile | undefined;
  readonly hasKeys: boolean;
  readonly hasTokens: boolean;
  /** True if it asks for client certificates. */
  readonly hasClientCa: boolean;
}): boolean =>
  profile === 'gated' ||
  (profile === 'overlay' && hasTokens) ||
  (profile !== 'open' && (hasKeys || hasClientCa));
