// The list of naylence's variables, compared with the sources of its packages for TypeScript.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NAYLENCE_VARIABLES } from '@fame-fabric/shared/internal';
import { beforeAll, expect, test } from 'vitest';
import { ensureInstalled } from '../kit/naylence.ts';
import { ROOT } from '../kit/processes.ts';

beforeAll(ensureInstalled);

/** Constants in their code that are not variables. */
const CONSTANTS = ['FAME_FABRIC_FACTORY_BASE_TYPE', 'FAME_MAX_MESSAGE_SIZE'];
/** Only in the packages for Python, which misspell it. */
const PYTHON_ONLY = ['FAME_ADMISSSION_TTL'];

test('I2: the list has every variable that the packages name', () => {
  const packages = join(ROOT, 'test/interop/node_modules/@naylence');
  const files = globSync('*/dist/esm/**/*.js', { cwd: packages });
  expect(files.length).toBeGreaterThan(100);
  const names = new Set(
    files.flatMap(
      (file) => readFileSync(join(packages, file), 'utf8').match(/\bFAME_[A-Z][A-Z\d_]*[A-Z\d]\b/g) ?? [],
    ),
  );
  const listed = NAYLENCE_VARIABLES.map(({ name }) => name);
  expect([...names].sort()).toEqual(
    [...listed.filter((name) => !PYTHON_ONLY.includes(name)), ...CONSTANTS].toSorted(),
  );
});
