// The flag `--role` of `key`, `token` and `why`.
import { ROLES } from '@fame-fabric/sentinel/policy';
import type { Role } from '@fame-fabric/shared';
import { closestMatch } from '@fame-fabric/shared/internal';
import { UsageError } from './verb.ts';

/** Returns the role named `text`. @throws {UsageError} */
export function readRole(text: string): Role {
  const role = ROLES.find((one) => one === text);
  if (role !== undefined) return role;
  const match = closestMatch(text, ROLES);
  throw new UsageError(
    `--role takes ${ROLES.join(', ')}, not "${text}"${match ? `; did you mean ${match}?` : ''}`,
  );
}
