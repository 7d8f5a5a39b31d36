// Digests of the settings of a background process, one for each variable. They show which settings have changed since it was
// started. Its record is a file, so it contains no values: some are keys.
import { createHmac, randomBytes } from 'node:crypto';
import type { Environment, Variable } from '@fame-fabric/shared/internal';

export interface SettingsDigest {
  readonly salt: string;
  /** HMAC-SHA256 in hex of each variable that was set. */
  readonly values: Readonly<Record<string, string>>;
}

/** Computes the digests of those `variables` that `env` sets. */
export function digestSettings(
  env: Environment,
  variables: readonly Variable[],
  salt = randomBytes(16).toString('hex'),
): SettingsDigest {
  const values: Record<string, string> = {};
  for (const { name } of variables) {
    const value = env[name]?.trim();
    if (value) values[name] = createHmac('sha256', salt).update(value).digest('hex');
  }
  return { salt, values };
}

/** Returns the names of the variables that were set, unset or changed since `digest`. */
export function changedSettings(
  digest: SettingsDigest,
  env: Environment,
  variables: readonly Variable[],
): string[] {
  const now = digestSettings(env, variables, digest.salt).values;
  const names = new Set(variables.map(({ name }) => name));
  return [...names].filter((name) => now[name] !== digest.values[name]);
}
