// The client scenarios of the MCP conformance suite: those that `mcpTools` passes, and the others with the reason of each. A test compares the
// lists with the suite, and docs/conformance.md prints the second one.

/** Scenarios that pass, with the revisions that they are run for. */
export const PASSED: readonly (readonly [scenario: string, revision: string])[] = [
  ['initialize', '2025-11-25'],
  ['tools_call', '2025-11-25'],
  ['tools_call', '2026-07-28'],
  ['sse-retry', '2025-11-25'],
  ['request-metadata', '2026-07-28'],
  ['http-standard-headers', '2026-07-28'],
  ['http-custom-headers', '2026-07-28'],
  ['http-invalid-tool-headers', '2026-07-28'],
  ['json-schema-ref-no-deref', '2026-07-28'],
  ['json-schema-2020-12-preservation', '2025-11-25'],
  ['json-schema-2020-12-preservation', '2026-07-28'],
];

/** Scenarios that fail or do not apply. */
export interface FailedScenarios {
  readonly scenarios: readonly string[];
  readonly reason: string;
}

export const FAILED: readonly FailedScenarios[] = [
  {
    scenarios: ['elicitation-sep1034-client-defaults', 'sep-2322-client-request-state'],
    reason:
      'The client does not answer questions of a server, because an agent has no user to show a form to.',
  },
  {
    scenarios: [
      'auth/metadata-default',
      'auth/metadata-var1',
      'auth/metadata-var2',
      'auth/metadata-var3',
      'auth/basic-cimd',
      'auth/scope-from-www-authenticate',
      'auth/scope-from-scopes-supported',
      'auth/scope-omitted-when-undefined',
      'auth/scope-step-up',
      'auth/scope-retry-limit',
      'auth/token-endpoint-auth-basic',
      'auth/token-endpoint-auth-post',
      'auth/token-endpoint-auth-none',
      'auth/pre-registration',
      'auth/2025-03-26-oauth-metadata-backcompat',
      'auth/2025-03-26-oauth-endpoint-fallback',
      'auth/resource-mismatch',
      'auth/offline-access-scope',
      'auth/offline-access-not-supported',
      'auth/authorization-server-migration',
      'auth/iss-supported',
      'auth/iss-not-advertised',
      'auth/iss-supported-missing',
      'auth/iss-wrong-issuer',
      'auth/iss-unexpected',
      'auth/iss-normalized',
      'auth/metadata-issuer-mismatch',
    ],
    reason: 'OAuth needs a browser, which an agent does not have. A token in `headers` works.',
  },
  {
    scenarios: [
      'auth/client-credentials-jwt',
      'auth/client-credentials-basic',
      'auth/enterprise-managed-authorization',
      'auth/dpop',
      'auth/dpop-nonce',
      'auth/wif-jwt-bearer',
    ],
    reason:
      'The client does not support extensions for tokens. Another program can write a token into `headers`.',
  },
  {
    scenarios: [
      'sep-2640-client-no-prefetch',
      'sep-2640-client-verify-digest',
      'sep-2640-client-verify-size',
      'sep-2640-client-verify-frontmatter',
    ],
    reason: 'The client does not support the extension for skills. Agents use only tools.',
  },
];
