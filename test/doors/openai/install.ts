// Installs the clients once before the tests.
import { installOnce } from '../../kit/install-packages.ts';
import { CLIENTS, ensurePython } from './installed.ts';

export function setup(): void {
  installOnce(CLIENTS, 'ai');
  ensurePython();
}
