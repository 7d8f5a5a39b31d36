// Checks of the parameters that calls and messages share.
import { FabricError } from '../errors/error.ts';
import { tryParseAddress } from '../protocol/address.ts';
import type { CallTarget } from './link-types.ts';

export const targetText = (target: CallTarget): string =>
  typeof target === 'string' ? target : `[${target.capabilities.join(', ')}]`;

/** @throws {ADDRESS_INVALID} if the target is neither an address nor a list of capabilities */
export function checkTarget(target: CallTarget): void {
  if (typeof target === 'string' ? tryParseAddress(target) : target.capabilities.length > 0) return;
  throw new FabricError(
    'ADDRESS_INVALID',
    `"${targetText(target)}" is not an address, such as chat@fame.fabric`,
  );
}

/** @throws {PARAMS_INVALID} if a duration is not positive */
export function checkMs(name: string, ms: number | undefined): void {
  if (ms === undefined || ms > 0) return;
  throw new FabricError('PARAMS_INVALID', `${name} is ${ms}; expected a number larger than 0`);
}
