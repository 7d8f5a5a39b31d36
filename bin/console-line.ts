// The line about the console that `make start` and `fame up` print.
import { isFabricError } from '@fame-fabric/shared';
import { createSignInLink, type SentinelHttp } from './sentinel-http.ts';

/**
 * Requests a sign-in link of a sentinel and returns the line with it, or with the plain URL of the console if the key of the data
 * directory is not one of the sentinel.
 */
export async function consoleLine(sentinel: SentinelHttp): Promise<string> {
  try {
    const { url } = await createSignInLink(sentinel);
    return `console     ${url} (signs in once, within an hour)`;
  } catch (error) {
    if (!isFabricError(error)) throw error;
    return `console     ${sentinel.httpUrl}/console/`;
  }
}
