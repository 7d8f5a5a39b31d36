// Secrets from the environment: a variable, or a file that NAME_FILE names, as containers mount them.
import { type EnvReader, printable } from '../env/read-env.ts';
import type { Variable } from '../env/variable.ts';
import { reasonOf } from '../errors/reason-of.ts';
import { isToken } from '../link/transport.ts';
import { readTokenFile } from './local-key-file.ts';

/** The variable that names the file of a secret. */
export const fileVariableOf = ({ name }: Variable): Variable => ({
  name: `${name}_FILE`,
  type: 'path',
  default: '',
  description: `File with the value of ${name}, read at the start. Set one of the two.`,
});

/**
 * Reads a secret from the variable `name` or from the file in NAME_FILE. Records faults in `reader`, without the value: both are set,
 * the file cannot be read, or its content is no key.
 */
export function readSecret(reader: EnvReader, name: string): string | undefined {
  const value = reader.secret(name);
  const file = reader.fileOfSecret(name);
  if (file === undefined) return value;
  try {
    return checkToken(readTokenFile(file));
  } catch (error) {
    reader.faults.push(`${name}_FILE is "${printable(file)}", which has no key: ${reasonOf(error)}`);
    return undefined;
  }
}

/** Returns a token that was read from a file. @throws an error with the reason why it is none, without its text */
export function checkToken(token: string): string {
  if (isToken(token)) return token;
  throw new Error(
    token === '' ? 'it is empty' : 'it contains a blank, a line break or a non-ASCII character',
  );
}
