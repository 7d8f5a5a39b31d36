// Runs once before the tests that need the peer's packages, so that no two of them install at the same time.
import { ensureInstalled } from './naylence.ts';

export const setup = (): void => ensureInstalled();
