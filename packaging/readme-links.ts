// Links in a README that is read outside the repository, on the page of a package: relative links become absolute.
import { posix } from 'node:path';

export interface LinkTarget {
  /** The folder of the README, relative to the root of the repository. */
  readonly folder: string;
  /** URL of the repository. Without it relative links become plain text. */
  readonly repository?: string | undefined;
  /** Tag or commit that links lead to. */
  readonly ref: string;
}

/** Replaces relative links outside of code blocks. */
export function withAbsoluteLinks(text: string, { folder, repository, ref }: LinkTarget): string {
  const replaced = (part: string): string =>
    part.replace(
      /(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)/g,
      (_, image: string, label: string, path: string) => {
        if (repository === undefined) return label;
        const file = posix.join(folder, path);
        return image
          ? `![${label}](${repository}/raw/${ref}/${file})`
          : `[${label}](${repository}/blob/${ref}/${file})`;
      },
    );
  return text
    .split(/(^```[\s\S]*?^```$)/m)
    .map((part, index) => (index % 2 === 0 ? replaced(part) : part))
    .join('');
}
