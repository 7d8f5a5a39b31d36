// The libraries of this folder that check packages and workflows. They are loaded by path, because this folder is installed only
// when a test first needs it.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const MODULES = join(import.meta.dirname, 'node_modules');
const load = (file: string): Promise<unknown> => import(pathToFileURL(join(MODULES, file)).href);

interface Publint {
  publint(options: {
    pkgDir: string;
    strict: boolean;
  }): Promise<{ messages: { code: string; path: string[] }[] }>;
}

/** Findings of publint about a staged package, suggestions included. */
export async function publintFindings(folder: string): Promise<string[]> {
  const { publint } = (await load('publint/src/index-node.js')) as Publint;
  const { messages } = await publint({ pkgDir: folder, strict: true });
  return messages.map(({ code, path }) => `${code} at ${path.join('.')}`);
}

interface TypeProblem {
  kind: string;
  entrypoint?: string;
  resolutionKind?: string;
}
interface AreTheTypesWrong {
  createPackageFromTarballData(tarball: Uint8Array): unknown;
  checkPackage(contents: unknown): Promise<{ types: false | object; problems?: TypeProblem[] }>;
}

/** Module resolutions that the packages do not support, because they are ES modules with `exports`. */
const UNSERVED = ['node10', 'node16-cjs'];

/**
 * Findings of are-the-types-wrong about a tarball. Left out are those about TypeScript's resolution before `exports`, and about
 * `require` before Node could load ES modules with it.
 */
export async function typesFindings(tarball: string): Promise<string[]> {
  const { checkPackage, createPackageFromTarballData } = (await load(
    '@arethetypeswrong/core/dist/index.js',
  )) as AreTheTypesWrong;
  const { types, problems = [] } = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
  if (!types) return ['the package has no types'];
  return problems
    .filter(({ resolutionKind }) => resolutionKind === undefined || !UNSERVED.includes(resolutionKind))
    .map(({ kind, entrypoint = '', resolutionKind = '' }) =>
      `${kind} ${entrypoint} ${resolutionKind}`.trim(),
    );
}

interface ActionValidator {
  validateWorkflow(text: string): {
    errors: { code: string; title: string; detail?: string; path?: string }[];
  };
}

/** Deviations of a workflow from the schema of GitHub Actions. */
export function workflowFindings(text: string): string[] {
  const require = createRequire(import.meta.url);
  const { validateWorkflow } = require(join(MODULES, '@action-validator/core')) as ActionValidator;
  return validateWorkflow(text).errors.map(({ title, detail = '', path = '' }) =>
    `${path} ${title} ${detail}`.trim(),
  );
}
