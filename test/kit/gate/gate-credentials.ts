// Credentials of the gate matrix: of each kind every faulty form, and one for each caller that may attach.
import { createHmac } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { TestIssuer } from '@fame-fabric/sentinel/testing';
import { type Role, systemClock } from '@fame-fabric/shared';
import { type Certificate, TestAuthority } from '../certificates.ts';

export type Kind = 'key' | 'JWT' | 'certificate';

/** Callers that may attach. `owner` is the principal that owns the targets. */
const CALLERS = ['owner', 'other', 'low', 'door', 'sentinel', 'admin'] as const;
/** `narrow` has a key with patterns, which restrict the role agent to calls of the two agents. */
export type Caller = (typeof CALLERS)[number] | 'narrow';

/** The callers with a credential of a kind. The roles of certificates are fixed, and only keys have patterns. */
export const CALLERS_OF: Readonly<Record<Kind, readonly Caller[]>> = {
  key: [...CALLERS, 'narrow'],
  JWT: CALLERS,
  certificate: ['owner', 'other', 'low', 'admin'],
};

/** A faulty credential, with the code of the refusal. */
export interface Faulty {
  readonly kind: Kind;
  readonly fault: string;
  readonly code: string;
  readonly credential: Credential;
}

export interface Credential {
  readonly token?: string | undefined;
  readonly certificate?: Certificate | undefined;
}

const DAY_MS = 86_400_000;
const ROLE_OF: Readonly<Record<Caller, Role>> = {
  owner: 'agent',
  other: 'agent',
  low: 'client',
  door: 'door',
  sentinel: 'sentinel',
  admin: 'admin',
  narrow: 'agent',
};

export class GateCredentials {
  readonly authority: TestAuthority;
  readonly issuer: TestIssuer;
  readonly server: Certificate;
  readonly faulty: readonly Faulty[];
  /** Key of the agents of the fabric. */
  readonly house: Credential;
  readonly #callers: ReadonlyMap<string, Credential>;

  private constructor(parts: {
    authority: TestAuthority;
    issuer: TestIssuer;
    server: Certificate;
    faulty: readonly Faulty[];
    house: Credential;
    callers: ReadonlyMap<string, Credential>;
  }) {
    this.authority = parts.authority;
    this.issuer = parts.issuer;
    this.server = parts.server;
    this.faulty = parts.faulty;
    this.house = parts.house;
    this.#callers = parts.callers;
  }

  /** Makes all credentials, and a keys file in the directory. `issuerUrl` is the issuer of the tokens. */
  static async make(directory: string, issuerUrl: string): Promise<GateCredentials> {
    const authority = new TestAuthority(directory);
    const issuer = await TestIssuer.create({ alg: 'RS256', issuer: issuerUrl });
    const server = authority.issue('server', { subject: '/CN=sentinel', altNames: 'IP:127.0.0.1' });
    const callers = new Map<string, Credential>();
    const keys = new KeysChange(join(directory, 'keys'), systemClock);
    const now = systemClock.now();
    for (const caller of CALLERS) {
      const role = ROLE_OF[caller];
      callers.set(`key ${caller}`, { token: (await keys.add({ name: caller, role })).token });
      callers.set(`JWT ${caller}`, { token: await issuer.token(now, { sub: caller, roles: [role] }) });
    }
    const allow = ['Call:chat@**', 'Call:work@**'];
    const narrow = await keys.add({ name: 'narrow', role: ROLE_OF.narrow, allow });
    callers.set('key narrow', { token: narrow.token });
    for (const caller of CALLERS_OF.certificate) {
      const certificate = authority.issue(caller, { subject: `/CN=${caller}` });
      callers.set(`certificate ${caller}`, { certificate });
    }
    const faulty = [
      ...(await faultyKeys(keys, now)),
      ...(await faultyTokens(issuer, now)),
      ...faultyCertificates(authority, directory, now),
    ];
    const house = { token: (await keys.add({ name: 'house', role: 'agent' })).token };
    return new GateCredentials({ authority, issuer, server, faulty, house, callers });
  }

  /** The credential of a caller in `CALLERS_OF`. */
  of(kind: Kind, caller: Caller): Credential {
    return this.#callers.get(`${kind} ${caller}`)!;
  }
}

async function faultyKeys(keys: KeysChange, now: number): Promise<Faulty[]> {
  const { token: right } = await keys.add({ name: 'right', role: 'admin' });
  const { token: expired } = await keys.add({ name: 'expired', role: 'admin', expiresAt: now + 1 });
  const { token: revoked } = await keys.add({ name: 'revoked', role: 'admin' });
  await keys.remove('revoked');
  const other = right.slice(0, -1) + (right.endsWith('A') ? 'B' : 'A');
  return [
    { kind: 'key', fault: 'none', code: 'AUTH_MISSING', credential: {} },
    ...Object.entries({ garbage: 'fk_%%%', expired, 'wrong key': other, revoked }).map(
      ([fault, token]): Faulty => ({ kind: 'key', fault, code: 'AUTH_INVALID', credential: { token } }),
    ),
  ];
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

async function faultyTokens(issuer: TestIssuer, now: number): Promise<Faulty[]> {
  const s = Math.floor(now / 1_000);
  const roles = ['admin'];
  const token = (claims: object, more = {}) => issuer.token(now, { roles, sub: 'owner', ...claims }, more);
  const mallory = await TestIssuer.create({ alg: 'RS256', issuer: issuer.issuer });
  const right = await token({});
  const [, claims] = right.split('.');
  const confused = (secret: string): string => {
    const head = part({ alg: 'HS256', kid: issuer.kid, typ: 'JWT' });
    const signature = createHmac('sha256', secret).update(`${head}.${claims}`).digest('base64url');
    return `${head}.${claims}.${signature}`;
  };
  const invalid: Readonly<Record<string, string>> = {
    garbage: 'aaaa.bbbb.cccc',
    'not yet valid': await token({ nbf: s + 3_600 }),
    'wrong aud': await token({ aud: 'another.fabric' }),
    'wrong iss': await token({ iss: 'https://elsewhere.example' }),
    'wrong key': await mallory.token(now, { roles, sub: 'owner' }),
    'alg none': `${part({ alg: 'none', kid: issuer.kid })}.${claims}.`,
    'HS/RS confusion': confused(JSON.stringify(issuer.publicJwk)),
    'HS/RS confusion, modulus': confused(issuer.publicJwk.n!),
    'no exp': await token({ exp: undefined }),
  };
  return [
    ...Object.entries(invalid).map(
      ([fault, token]): Faulty => ({ kind: 'JWT', fault, code: 'AUTH_INVALID', credential: { token } }),
    ),
    {
      kind: 'JWT',
      fault: 'expired',
      code: 'AUTH_EXPIRED',
      credential: { token: await token({ iat: s - 7_200, nbf: s - 7_200, exp: s - 1 }) },
    },
    {
      kind: 'JWT',
      fault: 'missing scope',
      code: 'AUTH_FORBIDDEN',
      credential: { token: await token({ scope: 'openid' }) },
    },
    {
      kind: 'JWT',
      fault: 'revoked',
      code: 'AUTH_FORBIDDEN',
      credential: { token: await token({ sub: 'revoked' }) },
    },
  ];
}

function faultyCertificates(authority: TestAuthority, directory: string, now: number): Faulty[] {
  const elsewhere = join(directory, 'elsewhere');
  mkdirSync(elsewhere);
  const subject = '/CN=owner';
  const invalid: Readonly<Record<string, Certificate>> = {
    garbage: new TestAuthority(elsewhere, 'self').own,
    'not yet valid': authority.issue('early', { subject, validity: [now + DAY_MS, now + 2 * DAY_MS] }),
    'wrong aud': authority.issue('usage', { subject, usage: 'serverAuth' }),
    'wrong iss': new TestAuthority(elsewhere, 'foreign').issue('wrong-iss', { subject }),
    // An authority with the name of the right one.
    'wrong key': new TestAuthority(elsewhere).issue('wrong-key', { subject }),
  };
  return [
    ...Object.entries(invalid).map(
      ([fault, certificate]): Faulty => ({
        kind: 'certificate',
        fault,
        code: 'AUTH_INVALID',
        credential: { certificate },
      }),
    ),
    {
      kind: 'certificate',
      fault: 'expired',
      code: 'AUTH_EXPIRED',
      credential: { certificate: authority.issue('expired', { subject, days: -1 }) },
    },
    {
      kind: 'certificate',
      fault: 'revoked',
      code: 'AUTH_FORBIDDEN',
      credential: { certificate: authority.issue('revoked', { subject: '/CN=revoked' }) },
    },
    {
      kind: 'certificate',
      fault: 'a right one beside a wrong key',
      code: 'AUTH_INVALID',
      credential: { certificate: authority.issue('beside', { subject }), token: 'fk_wrong' },
    },
  ];
}
