// promtool of the Debian package `prometheus`, which checks metrics and rules as Prometheus reads them.
import { spawnSync } from 'node:child_process';
import { DebianPackage } from './debian-package.ts';

export const PROMTOOL = new DebianPackage('prometheus', 'usr/bin/promtool');

/** Runs promtool; returns its complaints, empty if there are none. */
export function promtool(
  args: readonly string[],
  { input = '', cwd }: { input?: string; cwd?: string } = {},
): string {
  const { path } = PROMTOOL;
  if (path === undefined) throw new Error('promtool is missing: install the Debian package prometheus.');
  const { status, stdout, stderr, error } = spawnSync(path, args, { input, cwd, encoding: 'utf8' });
  if (error) throw error;
  // Advice about names comes on stderr, with the exit code 3.
  return status === 0 ? stderr : `${stdout}${stderr}`;
}
