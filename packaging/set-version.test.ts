import { expect, test } from 'vitest';
import { withRelease, withVersion } from './set-version.ts';

test('withVersion changes the version and the dependencies on our packages', () => {
  const manifest = (version: string) =>
    JSON.stringify(
      {
        name: '@example/one',
        version,
        dependencies: { '@example/two': version, ws: '^8.0.0' },
        peerDependencies: { '@example/two': version },
        engines: { node: '>=24' },
      },
      null,
      2,
    );
  expect(withVersion(manifest('1.0.0'), ['@example/one', '@example/two'], '1.1.0')).toBe(manifest('1.1.0'));
});

test('withRelease moves the unreleased entries into the section of the release', () => {
  const text = '# Changelog\n\n## Unreleased\n\n### Added\n\n- One.\n\n## 1.0.0 - 2026-01-01\n\n- Zero.\n';
  const released = withRelease(text, '1.1.0', '2026-02-01');
  expect(released).toBe(text.replace('## Unreleased\n', '## Unreleased\n\n## 1.1.0 - 2026-02-01\n'));
  expect(() => withRelease(released, '1.2.0', '2026-03-01')).toThrow('"Unreleased" of CHANGELOG.md is empty');
});
