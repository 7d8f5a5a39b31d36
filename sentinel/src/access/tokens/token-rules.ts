// The settings that decide about tokens, from the variables of naylence's profile `gated`.
import { type EnvReader, ISSUER_URL_FORM, isIssuerUrl, type Variable } from '@fame-fabric/shared/internal';
import { TRUSTED_SCOPE, withoutScheme } from './claims.ts';

interface TrustedIssuer {
  /** The claim `iss` of its tokens. */
  readonly issuer: string;
  readonly jwksUrl: string;
}

export interface TokenRules {
  readonly issuers: readonly TrustedIssuer[];
  /** Audience of tokens for this fabric, besides the path of the sentinel. @default none */
  readonly audience: string | undefined;
  readonly algorithms: readonly string[];
  /** True if the id of a node must begin with a fingerprint of its token's subject. */
  readonly enforcesSubject: boolean;
  /** Scope of tokens that are exempt from `enforcesSubject` and belong to sentinels. */
  readonly trustedScope: string;
  /** Claims that agents may see. */
  readonly claimNames: readonly string[];
}

export const TOKEN_VARIABLES: readonly Variable[] = Object.freeze<Variable[]>([
  {
    name: 'FAME_JWT_TRUSTED_ISSUER',
    type: 'list',
    default: '(none)',
    description:
      'Issuers whose tokens are accepted, as in the claim iss. The profile gated needs at least one.',
  },
  {
    name: 'FAME_JWKS_URL',
    type: 'list',
    default: '<issuer>/.well-known/jwks.json',
    description:
      'URLs of the public keys, one for each issuer in the same order. The sentinel never requests a URL from a token.',
  },
  {
    name: 'FAME_JWT_AUDIENCE',
    type: 'text',
    default: 'the path of the sentinel',
    description: 'Audience of the tokens. Nodes that request tokens request this audience.',
  },
  {
    name: 'FAME_JWT_ALGORITHM',
    type: 'list',
    default: 'RS256',
    description:
      'Accepted signature algorithms, such as EdDSA or ES256. Shared secrets (HS256) are not supported.',
  },
  {
    name: 'FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY',
    type: 'boolean',
    default: 'false',
    description: "true admits a node only if its id begins with a fingerprint of its token's subject.",
  },
  {
    name: 'FAME_TRUSTED_CLIENT_SCOPE',
    type: 'text',
    default: TRUSTED_SCOPE,
    description: 'Scope of the tokens of sentinels. Their ids need no fingerprint.',
  },
  {
    name: 'FAME_ALLOW_HTTP_ISSUER',
    type: 'boolean',
    default: 'false',
    description: 'true permits http:// URLs of issuers on other machines, such as in a private network.',
  },
  {
    name: 'FAME_JWT_CLAIMS',
    type: 'list',
    default: '(none)',
    description: 'Claims of tokens that agents see as context.caller.claims, such as email.',
  },
]);

/** Signature algorithms with public keys. `none` and shared secrets are not among them. */
const ALGORITHMS = new Set([
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]);

/** Reads the rules of the profile gated. Records faults in `env`. */
export function readTokenRules(env: EnvReader, allowsHttp: boolean): TokenRules {
  const issuers = env.list('FAME_JWT_TRUSTED_ISSUER');
  if (issuers.length === 0) {
    env.faults.push(
      'FAME_JWT_TRUSTED_ISSUER is not set, and FAME_SECURITY_PROFILE=gated accepts only tokens of the issuers that it names',
    );
  }
  if (new Set(issuers.map(withoutScheme)).size < issuers.length) {
    env.fault('FAME_JWT_TRUSTED_ISSUER', issuers.join(','), 'issuers that differ in more than their scheme');
  }
  const urls = env.list('FAME_JWKS_URL');
  if (urls.length > 0 && urls.length !== issuers.length) {
    env.fault('FAME_JWKS_URL', urls.join(','), `one URL for each issuer, ${issuers.length} in all`);
  }
  const algorithms = env.list('FAME_JWT_ALGORITHM');
  for (const name of algorithms) {
    env.check(
      'FAME_JWT_ALGORITHM',
      name,
      ALGORITHMS.has(name),
      `one or more of ${[...ALGORITHMS].join(', ')}`,
    );
  }
  return {
    issuers: issuers.map((issuer, i) => {
      const jwksUrl = urls[i] ?? `${issuer.replace(/\/+$/, '')}/.well-known/jwks.json`;
      if (urls[i] === undefined) {
        const expected = `${ISSUER_URL_FORM}. For an issuer of another form, set FAME_JWKS_URL`;
        env.check('FAME_JWT_TRUSTED_ISSUER', issuer, isIssuerUrl(jwksUrl, allowsHttp), expected);
      } else env.check('FAME_JWKS_URL', jwksUrl, isIssuerUrl(jwksUrl, allowsHttp), ISSUER_URL_FORM);
      return { issuer, jwksUrl };
    }),
    audience: env.unquoted('FAME_JWT_AUDIENCE'),
    algorithms: algorithms.length > 0 ? algorithms : ['RS256'],
    enforcesSubject: env.boolean('FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY', false),
    trustedScope: env.unquoted('FAME_TRUSTED_CLIENT_SCOPE') ?? TRUSTED_SCOPE,
    claimNames: env.list('FAME_JWT_CLAIMS'),
  };
}
