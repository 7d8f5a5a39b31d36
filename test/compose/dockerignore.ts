// Selects the files of the build context by a `.dockerignore`, with the rules of Docker: a pattern matches a path or any
// directory above it, `!` includes it again, and the last pattern that matches decides.

interface Rule {
  readonly isException: boolean;
  readonly pattern: RegExp;
}

function toPattern(glob: string): RegExp {
  const source = glob
    .split('/')
    .map((part) => (part === '**' ? '**' : part.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '[^/]*')))
    .join('/')
    .replace(/^\*\*\//, '(?:.*/)?')
    .replace(/^\*\*$/, '.*')
    .replace(/\/\*\*$/, '/.*');
  return new RegExp(`^${source}$`);
}

/** Reads the text of a `.dockerignore`. Returns a function that is true for paths, from the root, that are sent. */
export function readDockerignore(text: string): (path: string) => boolean {
  const rules: Rule[] = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isException = line.startsWith('!');
      const glob = (isException ? line.slice(1) : line).replace(/^\/|\/$/g, '');
      return { isException, pattern: toPattern(glob) };
    });
  return (path) => {
    const parts = path.split('/');
    const prefixes = parts.map((_, i) => parts.slice(0, i + 1).join('/'));
    let isSent = true;
    for (const { isException, pattern } of rules) {
      if (prefixes.some((prefix) => pattern.test(prefix))) isSent = isException;
    }
    return isSent;
  };
}
