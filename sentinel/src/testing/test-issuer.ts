// An issuer of tokens for unit tests: generated keys, a key set that can fail, and tokens with any fault.
import type { IssuerReply } from '@fame-fabric/shared/internal';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import type { TokenRules } from '../access/tokens/token-rules.ts';

const TEST_ISSUER = 'https://issuer.example';
export const TEST_AUDIENCE = 'fame.fabric';

/** Claims of any form; undefined removes one. */
export type TestClaims = Readonly<Record<string, unknown>>;

export interface TokenOptions {
  readonly header?: Readonly<Record<string, unknown>> | undefined;
  /** The key that signs. @default the key of the issuer */
  readonly key?: CryptoKey | Uint8Array | undefined;
}

export class TestIssuer {
  readonly issuer: string;
  readonly kid: string;
  readonly alg: string;
  /** URLs of the requests for the key set. */
  readonly requests: string[] = [];
  /** The answer to the next requests; a function that throws is an outage. */
  reply: () => IssuerReply;
  readonly #privateKey: CryptoKey;
  readonly publicJwk: JWK;

  private constructor(issuer: string, kid: string, alg: string, privateKey: CryptoKey, publicJwk: JWK) {
    this.issuer = issuer;
    this.kid = kid;
    this.alg = alg;
    this.#privateKey = privateKey;
    this.publicJwk = { ...publicJwk, kid, alg, use: 'sig' };
    this.reply = () => ({ status: 200, body: { keys: [this.publicJwk] } });
  }

  static async create({ issuer = TEST_ISSUER, kid = 'k1', alg = 'EdDSA' } = {}): Promise<TestIssuer> {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    return new TestIssuer(issuer, kid, alg, privateKey, await exportJWK(publicKey));
  }

  readonly request = async (url: string): Promise<IssuerReply> => {
    this.requests.push(url);
    return this.reply();
  };

  /** Rules of a sentinel that trusts this issuer. */
  rules(rules: Partial<TokenRules> = {}): TokenRules {
    return {
      issuers: [{ issuer: this.issuer, jwksUrl: `${this.issuer}/.well-known/jwks.json` }],
      audience: TEST_AUDIENCE,
      algorithms: [this.alg],
      enforcesSubject: false,
      trustedScope: 'node.trusted',
      claimNames: [],
      ...rules,
    };
  }

  /** A token that is valid at `nowMs` for an hour; `claims` replace its claims. */
  token(
    nowMs: number,
    claims: TestClaims = {},
    { header, key = this.#privateKey }: TokenOptions = {},
  ): Promise<string> {
    const now = Math.floor(nowMs / 1_000);
    const all = {
      iss: this.issuer,
      aud: TEST_AUDIENCE,
      sub: 'ada',
      scope: 'node.connect',
      iat: now,
      nbf: now,
      exp: now + 3_600,
      ...claims,
    };
    return new SignJWT(all)
      .setProtectedHeader({ alg: this.alg, kid: this.kid, typ: 'JWT', ...header })
      .sign(key);
  }
}
