import { expect, test } from 'vitest';
import { withAbsoluteLinks } from './readme-links.ts';

const TEXT = `See [guide](../docs/guide.md#start), ![picture](picture.svg), [npm](https://www.npmjs.com) and [below](#below).

\`\`\`md
[kept](as-it-is.md)
\`\`\`
`;

test('relative links lead to the file in the repository, at the version of the package', () => {
  const target = { folder: 'agents', repository: 'https://github.com/example/one', ref: 'v1.2.3' };
  expect(withAbsoluteLinks(TEXT, target)).toBe(
    TEXT.replace(
      '../docs/guide.md#start',
      'https://github.com/example/one/blob/v1.2.3/docs/guide.md#start',
    ).replace('(picture.svg)', '(https://github.com/example/one/raw/v1.2.3/agents/picture.svg)'),
  );
});

test('without a repository they become plain text', () => {
  expect(withAbsoluteLinks(TEXT, { folder: '', ref: 'v1.2.3' })).toBe(
    TEXT.replace('[guide](../docs/guide.md#start)', 'guide').replace('![picture](picture.svg)', 'picture'),
  );
});
