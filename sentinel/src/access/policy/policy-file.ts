// The policy file of a running sentinel (FAME_AUTH_POLICY_PATH). A faulty file prevents the start. When it changes later, a faulty
// version is logged, and the last good one stays in force.
import { relative } from 'node:path';
import type { Logger } from '@fame-fabric/shared';
import { configInvalid, errorMessage, printable, reasonOf } from '@fame-fabric/shared/internal';
import { readBoundedFile } from '@fame-fabric/shared/router';
import { fileVersion } from '../file-version.ts';
import { MAX_POLICY_CHARS, parsePolicy } from './parse-policy.ts';
import type { Policy } from './policy.ts';
import type { PolicyFault } from './policy-yaml.ts';

/** UTF-8 has at most three bytes for each of the characters that the parser counts. */
const MAX_BYTES = 3 * MAX_POLICY_CHARS;

/** One line for people, such as `policy.yaml:3:5 error: unknown key "adress"; did you mean "address"?`. */
export const formatPolicyFault = (file: string, { level, line, column, message }: PolicyFault): string =>
  `${file}:${line}:${column} ${level}: ${message}`;

/** The path as texts name it: from the working directory if the file is below it. */
export function shownPath(path: string): string {
  const shown = relative(process.cwd(), path);
  return shown === '' || shown.startsWith('..') ? path : shown;
}

export class PolicyFile {
  readonly #path: string;
  readonly #log: Logger;
  #policy: Policy;
  #text = '';
  /** Identity of the file version that was read last; undefined while the file is missing. */
  #seen: string | undefined;

  /** Reads the policy. @throws {CONFIG_INVALID} with every fault and its place */
  constructor(path: string, log: Logger) {
    this.#path = path;
    this.#log = log;
    this.#seen = fileVersion(path);
    this.#policy = this.#read();
    log.info('loaded the policy', { file: path, rules: this.#policy.rules.length });
  }

  get policy(): Policy {
    return this.#policy;
  }

  /** Text of the policy in force. */
  get text(): string {
    return this.#text;
  }

  /** Reads the file if it changed, or in any case with `isForced`. Returns true if another policy is in force now. */
  refresh(isForced = false): boolean {
    const version = fileVersion(this.#path);
    if (version === this.#seen && !isForced) return false;
    // A version is read once, so a missing or faulty file is reported once, not in each sweep.
    this.#seen = version;
    try {
      this.#policy = this.#read();
    } catch (error) {
      const fault = errorMessage(error);
      this.#log.error('the policy file is faulty; the last good policy stays in force', { fault });
      return false;
    }
    this.#log.info('loaded the changed policy', { file: this.#path, rules: this.#policy.rules.length });
    return true;
  }

  #readText(): string {
    try {
      return readBoundedFile(this.#path, MAX_BYTES);
    } catch (error) {
      const reason = reasonOf(error);
      throw configInvalid([
        `FAME_AUTH_POLICY_PATH is "${printable(this.#path)}", which cannot be read: ${reason}`,
      ]);
    }
  }

  #read(): Policy {
    const file = shownPath(this.#path);
    const text = this.#readText();
    const { policy, faults } = parsePolicy(file, text);
    if (policy === undefined) {
      const errors = faults.filter(({ level }) => level === 'error');
      throw configInvalid(errors.map((fault) => `FAME_AUTH_POLICY_PATH: ${formatPolicyFault(file, fault)}`));
    }
    for (const fault of faults)
      this.#log.warn('warning in the policy', { fault: formatPolicyFault(file, fault) });
    this.#text = text;
    return policy;
  }
}
