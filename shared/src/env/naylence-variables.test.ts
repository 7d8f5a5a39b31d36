import { expect, test } from 'vitest';
import {
  checkNaylenceVariables,
  NAYLENCE_VARIABLES,
  naylenceWarnings,
  withoutWarned,
} from './naylence-variables.ts';
import { EnvReader } from './read-env.ts';
import type { Environment } from './variable.ts';

function faultsOf(env: Environment): readonly string[] {
  const reader = new EnvReader(env);
  checkNaylenceVariables(reader);
  return reader.faults;
}

/** Names as the packages of 2026-11-29 have them: runtime 0.4.12 and 0.4.13, agent-sdk 0.4.8 and 0.4.12, core, factory. */
const NAMES = `
ADMISSION_AUTHORIZE_URL ADMISSION_CLIENT_ID ADMISSION_CLIENT_SECRET ADMISSION_CLOCK_SKEW_SECONDS ADMISSION_CODE_CHALLENGE_METHOD
ADMISSION_CODE_VERIFIER_LENGTH ADMISSION_LOGIN_HINT_PARAM ADMISSION_PROFILE ADMISSION_REDIRECT_URL ADMISSION_SERVICE_URL
ADMISSION_TOKEN_URL ADMISSSION_TTL APP_HOST APP_PORT AUTHORIZATION_PROFILE AUTH_POLICY_FORMAT AUTH_POLICY_PATH CA_CERTS CONFIG
CRYPTO_ALGORITHM DEFAULT_ENCRYPTION_LEVEL DELIVERY_BACKOFF_FACTOR DELIVERY_BASE_DELAY_MS DELIVERY_JITTER_MS DELIVERY_MAX_DELAY_MS
DELIVERY_MAX_RETRIES DELIVERY_PROFILE DIRECT_ADMISSION_URL DIRECT_INPAGE_CHANNEL ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY FLOW_CONTROL
HMAC_SECRET JWKS_KEY_TYPES JWKS_URL JWT_ALGORITHM JWT_ALLOWED_SCOPES JWT_AUDIENCE JWT_CLIENT_ID JWT_CLIENT_SECRET JWT_ISSUER
JWT_REVERSE_AUTH_AUDIENCE JWT_REVERSE_AUTH_TRUSTED_ISSUER JWT_TRUSTED_ISSUER LISTENER_AGENT_HTTP_GATEWAY_ENABLED
LISTENER_AGENT_HTTP_GATEWAY_PORT LISTENER_HTTP_ENABLED LISTENER_HTTP_PORT LISTENER_PORT LISTENER_WEBSOCKET_ENABLED
LISTENER_WEBSOCKET_PORT LOG_LEVEL NODE_ID NODE_IDENTITY_PROFILE NODE_ID_SALT OAUTH_ALLOW_PUBLIC_CLIENTS OAUTH_CODE_TTL_SEC
OAUTH_DEV_PASSWORD OAUTH_DEV_USERNAME OAUTH_ENABLE_DEV_LOGIN OAUTH_ENABLE_PKCE OAUTH_LOGIN_TITLE OAUTH_SESSION_COOKIE_NAME
OAUTH_SESSION_SECURE OAUTH_SESSION_TTL_SEC PLUGINS PLUGINS_DEBUG PUBLIC_URL ROOT SECURITY_PROFILE SESSION_MAX_INITIAL_ATTEMPTS
SHOW_ENVELOPES STORAGE_DB_DIRECTORY STORAGE_ENCRYPTED STORAGE_MASTER_KEY STORAGE_PROFILE TELEMETRY_SERVICE_NAME
TRUSTED_CLIENT_SCOPE WEBSOCKET_LISTENER_PORT`
  .trim()
  .split(/\s+/)
  .map((name) => `FAME_${name}`);

test('I2: the list has every variable of naylence once', () => {
  expect(NAYLENCE_VARIABLES.map(({ name }) => name)).toEqual(NAMES.toSorted());
});

test('I2: each variable is read, refused or reported', () => {
  const unhandled = NAYLENCE_VARIABLES.filter(({ name, isRead }) => {
    const env = { [name]: 'anything' };
    return !isRead && faultsOf(env).length + naylenceWarnings(env).length !== 1;
  });
  expect(unhandled).toEqual([]);
});

test.each([
  ['FAME_SECURITY_PROFILE', 'gated-callback'],
  ['FAME_SECURITY_PROFILE', 'overlay-callback'],
  ['FAME_SECURITY_PROFILE', 'STRICT-OVERLAY'],
  ['FAME_SECURITY_PROFILE', '"gated-callback"'],
  ['FAME_SECURITY_PROFILE', 'unknown'],
  ['FAME_AUTHORIZATION_PROFILE', 'jwt'],
  ['FAME_AUTHORIZATION_PROFILE', 'default'], // another name of `jwt`
  ['FAME_AUTHORIZATION_PROFILE', 'oauth2'],
  ['FAME_AUTHORIZATION_PROFILE', 'oidc'],
  ['FAME_ADMISSION_PROFILE', 'welcome'],
  ['FAME_ADMISSION_PROFILE', 'welcome-pkce'],
  ['FAME_ADMISSION_PROFILE', 'direct-pkce'],
  ['FAME_ADMISSION_PROFILE', 'direct-http'],
  ['FAME_NODE_IDENTITY_PROFILE', 'token-subject'],
  ['FAME_STORAGE_PROFILE', 'encrypted-sqlite'],
  ['FAME_STORAGE_ENCRYPTED', 'true'],
])('NF0: %s=%s is refused', (name, value) => {
  const [fault, ...others] = faultsOf({ [name]: value });
  expect(fault).toContain(`${name} is "${value.replaceAll('"', '')}"; expected `);
  expect(fault).toContain('or unset. ');
  expect(others).toEqual([]);
});

test('NF0: a configuration of naylence is refused, and not quoted', () => {
  const [fault] = faultsOf({ FAME_CONFIG: '{"secret":"s3cret"}' });
  expect(fault).toMatch(/^FAME_CONFIG is set; unset it\. /);
  expect(fault).not.toContain('s3cret');
});

test.each([
  ['FAME_SECURITY_PROFILE', 'open'],
  ['FAME_SECURITY_PROFILE', 'Open'],
  ['FAME_SECURITY_PROFILE', '"Gated"'],
  ['FAME_SECURITY_PROFILE', 'overlay'],
  ['FAME_ADMISSION_PROFILE', 'direct'],
  ['FAME_SECURITY_PROFILE', ' '],
  ['FAME_AUTHORIZATION_PROFILE', 'noop'],
  ['FAME_AUTHORIZATION_PROFILE', 'no_op'],
  ['FAME_ADMISSION_PROFILE', 'open'],
  ['FAME_ADMISSION_PROFILE', 'none'],
  ['FAME_ADMISSION_PROFILE', 'noop'],
  ['FAME_NODE_IDENTITY_PROFILE', 'default'],
  ['FAME_STORAGE_PROFILE', 'sqlite'],
  ['FAME_STORAGE_ENCRYPTED', 'false'],
  ['FAME_DELIVERY_PROFILE', 'at-least-once'],
])('NF0: %s=%s is accepted without a warning', (name, value) => {
  expect(faultsOf({ [name]: value })).toEqual([]);
  expect(naylenceWarnings({ [name]: value })).toEqual([]);
});

test('I2: one line names the variables without an effect, and none of their values', () => {
  const env = {
    FAME_HMAC_SECRET: 's3cret',
    FAME_PLUGINS: 'x',
    FAME_LOG_LEVEL: 'info',
    PATH: '/bin',
  };
  expect(naylenceWarnings(env)).toEqual([
    'These variables of naylence have no effect here: FAME_HMAC_SECRET, FAME_PLUGINS. docs/naylence.md lists the alternatives.',
  ]);
  expect(naylenceWarnings({ FAME_PLUGINS: ' ' })).toEqual([]);
  expect(withoutWarned(env)).toEqual({ FAME_LOG_LEVEL: 'info', PATH: '/bin' });
});
